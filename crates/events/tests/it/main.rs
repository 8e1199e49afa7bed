//! The log on real stores, through its real routes.

mod append;
mod cloudevents;
mod cold;
mod follow;
mod house;
mod interleavings;
mod matching;
mod read;
mod several;
