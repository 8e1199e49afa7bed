//! Triggers: rules that make executions, by webhook, at a time, on a cron, at an interval or for an event.

mod occurrence;

pub use occurrence::{
    Cron, DEFAULT_PREVIEW, Due, GRACE, MAX_MADE_UP, MAX_PREVIEW, Misfire, Occurrences, Zone,
};
