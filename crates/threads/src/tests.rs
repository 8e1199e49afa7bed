//! Threads and turns over a real socket, on every engine.

mod events;
mod house;
mod leases;
mod live;
mod sharing;
mod turns;

use house::House;
