//! The routes, over a real socket.

mod access;
mod ahead;
mod by_hand;
mod description;
mod executions;
mod house;
mod triggers;
mod webhooks;
