//! Deliveries to real sinks, by real workers, over real stores.

mod crowds;
mod faults;
mod house;
mod life;
mod reference;
mod sent;
mod sink;
