//! The hot log on a real Redis, and the seam's suite for both engines.

mod faults;
mod house;
mod moves;
mod rules;
mod secure;
mod suite;
