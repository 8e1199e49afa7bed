//! The client against a server that a test scripts, over real connections.

mod agent;
mod retry;
mod support;
mod tail;
mod threads;
mod worker;
