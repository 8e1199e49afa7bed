//! What operators see. Recorded after the commit, a batch at a time.

mod kept;
mod latency;

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use tidewire_core::Time;
use tidewire_jobs::{Status, bus::Topic};

pub(crate) use kept::{archived, deleted, executions, schedules, triggers};
pub(crate) use latency::Latency;

const LATENESS: Latency = Latency {
    seconds: "tidewire_trigger_lateness_seconds",
    recent: "tidewire_trigger_lateness_seconds_recent",
};
const EVENT_LATENESS: Latency = Latency {
    seconds: "tidewire_event_trigger_seconds",
    recent: "tidewire_event_trigger_seconds_recent",
};

/// Firings that were committed just now, and the times of the occurrences among them.
pub(crate) fn fired(count: u64, scheduled: &[Time], now: Time) {
    counter!("tidewire_trigger_firings_total").increment(count);
    LATENESS.record(scheduled.iter().map(|at| now.since(*at)));
}

/// Firings for events, and how long after the event each was committed.
pub(crate) fn matched(lateness: impl Iterator<Item = Duration>) {
    EVENT_LATENESS.record(lateness);
}

/// Events that would have set off a trigger and are too deep for it.
pub(crate) fn too_deep(count: u64) {
    counter!("tidewire_event_trigger_too_deep_total").increment(count);
}

/// A firing for an event that was refused.
pub(crate) fn left_out() {
    counter!("tidewire_event_trigger_left_out_total").increment(1);
}

/// How many events wait to be matched, as far as this process knows.
pub(crate) fn behind(events: u64) {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a count of events is far below 2^52"
    )]
    gauge!("tidewire_event_trigger_behind").set(events as f64);
}

/// How executions ended.
pub(crate) struct Ended {
    success: u64,
    failure: u64,
}

impl Ended {
    pub(crate) fn of(jobs: impl Iterator<Item = Status>) -> Self {
        let (mut success, mut failure) = (0, 0);
        for status in jobs {
            match status {
                Status::Done => success += 1,
                Status::Failed | Status::Cancelled => failure += 1,
                Status::Pending | Status::Running => {}
            }
        }
        Ended { success, failure }
    }

    /// Besides, so many attempts were not the first.
    pub(crate) fn record(self, retried: u64) {
        for (status, count) in [("success", self.success), ("failure", self.failure)] {
            if count > 0 {
                counter!("tidewire_executions_ended_total", "status" => status).increment(count);
            }
        }
        if retried > 0 {
            counter!("tidewire_trigger_retry_attempts_total").increment(retried);
        }
    }
}

/// What the relay has published.
#[derive(Default)]
pub(crate) struct Published {
    jobs: u64,
    events: u64,
    left_out: u64,
}

impl Published {
    pub(crate) fn add(&mut self, topic: Topic) {
        match topic {
            Topic::Jobs => self.jobs += 1,
            Topic::Events => self.events += 1,
        }
    }

    pub(crate) fn left_out(&mut self) {
        self.left_out += 1;
    }

    pub(crate) fn record(self) {
        for (topic, count) in [("jobs", self.jobs), ("events", self.events)] {
            if count > 0 {
                counter!("tidewire_relay_published_total", "topic" => topic).increment(count);
            }
        }
        if self.left_out > 0 {
            counter!("tidewire_relay_left_out_total").increment(self.left_out);
        }
    }
}

/// Firings that wait for the relay, and for how long the oldest of them does.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of rows stay far below 2^52"
)]
pub(crate) fn outbox(depth: u64, oldest: Duration) {
    gauge!("tidewire_outbox_depth").set(depth as f64);
    gauge!("tidewire_outbox_oldest_seconds").set(oldest.as_secs_f64());
}

/// HELP texts of this room's metrics.
pub fn describe() {
    crate::dispatch::describe_metrics();
    describe_counter!(
        "tidewire_trigger_firings_total",
        "firings, whatever set them off"
    );
    kept::describe();
    LATENESS.describe(
        "from the time of an occurrence to the commit of its firing, those that were missed and made up too; 0 for what is fired ahead",
    );
    EVENT_LATENESS.describe("from storing an event to the durable firing of a trigger for it");
    describe_counter!(
        "tidewire_executions_ended_total",
        "executions that came to their end, by how"
    );
    describe_counter!(
        "tidewire_trigger_retry_attempts_total",
        "attempts at executions that were not the first"
    );
    describe_counter!(
        "tidewire_event_trigger_too_deep_total",
        "events that set off no trigger as they are too many triggers deep"
    );
    describe_counter!(
        "tidewire_event_trigger_left_out_total",
        "firings for events that were refused: the log says why"
    );
    describe_gauge!(
        "tidewire_event_trigger_behind",
        "events that wait to be matched with event triggers, as the matcher of this process sees it"
    );
    describe_counter!(
        "tidewire_relay_published_total",
        "messages that the job bus has taken, by topic"
    );
    describe_counter!(
        "tidewire_relay_left_out_total",
        "messages that the job bus does not take, even without their payload"
    );
    describe_gauge!(
        "tidewire_outbox_depth",
        "firings that the job bus has still to be told of"
    );
    describe_gauge!(
        "tidewire_outbox_oldest_seconds",
        Unit::Seconds,
        "for how long the oldest of them has waited"
    );
}
