//! Triggers: rules that make executions, by webhook, at a time, on a cron, at an interval or for an event.
