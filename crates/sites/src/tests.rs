//! Sites over the builder, by their routes.

mod attribution;
mod house;
mod registered;
mod syncs;
