//! A thread's turns go to the instance that has the thread; instances come with turns and go when they are
//! idle. One suite for everywhere that instances run.

#[macro_use]
mod scenarios;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod local;
mod world;
