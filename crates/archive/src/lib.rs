//! The cold tier: what grows old leaves the store for object storage, and is read at the same address.

pub mod cache;
pub mod object;
pub mod objects;
#[cfg(feature = "parquet")]
pub mod parquet;
