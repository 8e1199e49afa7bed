//! The house around the routes, with a small capability of its own to stand in it.

mod answers;
mod docs;
mod input;
mod sample;
mod server;
mod stream;
