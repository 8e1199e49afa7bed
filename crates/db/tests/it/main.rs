//! The store's seam on real engines.

mod rows;
mod sharing;
mod store;
