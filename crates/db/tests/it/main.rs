//! The store's seam on real engines.

mod rows;
mod seek;
mod sharing;
mod store;
