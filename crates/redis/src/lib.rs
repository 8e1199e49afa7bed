//! Redis as the hot log: threads' first copy.
//!
//! Accepting a turn, appending and cancelling are one script each, which decides by the rules of turns,
//! numbers the events, and writes them to their thread's stream and to the log of everything. What Redis
//! has acknowledged is as durable as Redis is. The persister, one at a time, moves the log of everything
//! to the store in batches, each in one transaction, and forgets in Redis only what the store has. A
//! thread is in Redis from when it is first written until it is stored whole and idle; `base` says up to
//! where the store alone knows it.
//!
//! Places of a thread are given out from blocks that the store has reserved. If Redis has forgotten
//! something, a new generation begins: a thread that had a block goes on behind it, after an event that
//! says so, and no place is given out twice. See `link.rs` for how that is noticed.

mod link;
mod load;
mod log;
mod metrics;
mod op;
mod persister;
mod read;
mod reader;
mod scripts;
mod settings;

pub use log::RedisLog;
pub use metrics::describe as describe_metrics;
pub use settings::RedisSettings;
