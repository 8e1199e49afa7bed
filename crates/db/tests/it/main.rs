//! The store's seam on real engines.

mod clock;
mod pending;
mod rows;
mod seek;
mod sharing;
mod store;
