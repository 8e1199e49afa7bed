//! The client on real sockets, and the address policy against tables of its own.

mod addresses;
mod answers;
mod dialling;
mod handed_on;
mod house;
mod keeping;
mod proxies;
mod secure;
mod sending;
mod spellings;
