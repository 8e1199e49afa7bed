//! What operators see. Recorded after the commit, a batch at a time.

use std::time::Duration;

use tidewire_core::Time;

use crate::{
    model::{Outcome, Status},
    state::Change,
    store::Depth,
};

pub(crate) fn enqueued(jobs: u64) {
    metrics::counter!("tidewire_jobs_enqueued_total").increment(jobs);
}

/// How long each claimed job had been due.
pub(crate) fn claimed(waits: &[Duration]) {
    if waits.is_empty() {
        return;
    }
    metrics::counter!("tidewire_jobs_claimed_total").increment(waits.len() as u64);
    let histogram = metrics::histogram!("tidewire_job_claim_latency_seconds");
    waits.iter().for_each(|wait| histogram.record(*wait));
}

/// How claims ended.
#[derive(Default)]
pub(crate) struct Ended {
    done: u64,
    failed: u64,
    cancelled: u64,
    retried: u64,
    expired: u64,
    released: u64,
    runs: Vec<Duration>,
}

impl Ended {
    pub(crate) fn add(&mut self, change: &Change, at: Time) {
        let outcome = change.logged.as_ref().map(|attempt| attempt.outcome);
        let ran = change.was == Status::Running;
        match (change.now.status, outcome) {
            (Status::Done, _) => self.done += 1,
            (Status::Failed, _) => self.failed += 1,
            (Status::Cancelled, _) => self.cancelled += 1,
            (Status::Pending, Some(_)) => self.retried += 1,
            (Status::Pending, None) => self.released += 1,
            (Status::Running, _) => return,
        }
        if outcome == Some(Outcome::Expired) {
            self.expired += 1;
        }
        let counts = ran && outcome != Some(Outcome::Expired);
        if let Some(started) = change.now.started_at.filter(|_| counts) {
            self.runs.push(at.since(started));
        }
    }

    pub(crate) fn record(&self) {
        for (outcome, count) in [
            ("done", self.done),
            ("failed", self.failed),
            ("cancelled", self.cancelled),
        ] {
            if count > 0 {
                metrics::counter!("tidewire_jobs_finished_total", "outcome" => outcome)
                    .increment(count);
            }
        }
        for (name, count) in [
            ("tidewire_jobs_retried_total", self.retried),
            ("tidewire_jobs_expired_total", self.expired),
            ("tidewire_jobs_released_total", self.released),
        ] {
            if count > 0 {
                metrics::counter!(name).increment(count);
            }
        }
        if !self.runs.is_empty() {
            let histogram = metrics::histogram!("tidewire_job_run_seconds");
            self.runs.iter().for_each(|run| histogram.record(*run));
        }
    }
}

/// Jobs that a bus has named: those that were claimed on its word, and those that were left.
pub(crate) fn heard(claimed: usize, left: usize) {
    for (outcome, count) in [("claimed", claimed), ("left", left)] {
        if count > 0 {
            metrics::counter!("tidewire_job_bus_consumed_total", "outcome" => outcome)
                .increment(count as u64);
        }
    }
}

pub(crate) fn pruned(jobs: usize) {
    metrics::counter!("tidewire_jobs_pruned_total").increment(jobs as u64);
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of rows stay far below 2^52"
)]
pub(crate) fn depth(depth: Depth, now: Time) {
    for (state, count) in [
        ("ready", depth.ready),
        ("scheduled", depth.scheduled),
        ("running", depth.running),
    ] {
        metrics::gauge!("tidewire_jobs_depth", "state" => state).set(count as f64);
    }
    let age = depth.oldest.map_or(Duration::ZERO, |due| now.since(due));
    metrics::gauge!("tidewire_jobs_oldest_ready_seconds").set(age.as_secs_f64());
}

/// Says what the metrics mean, once, when the process starts.
pub fn describe() {
    use metrics::{Unit::Seconds, describe_counter, describe_gauge, describe_histogram};
    describe_counter!(
        "tidewire_jobs_enqueued_total",
        "jobs stored, duplicates not counted"
    );
    describe_counter!("tidewire_jobs_claimed_total", "jobs handed to workers");
    describe_counter!(
        "tidewire_jobs_finished_total",
        "jobs that were done, failed or cancelled"
    );
    describe_counter!(
        "tidewire_jobs_retried_total",
        "jobs that went back to their queue after an attempt, or by hand"
    );
    describe_counter!(
        "tidewire_jobs_expired_total",
        "attempts whose lease ran out"
    );
    describe_counter!(
        "tidewire_jobs_released_total",
        "jobs that workers gave back"
    );
    describe_counter!(
        "tidewire_job_bus_consumed_total",
        "jobs that the bus has named: claimed on its word, or left (done, taken, no room)"
    );
    describe_counter!(
        "tidewire_jobs_pruned_total",
        "finished jobs that retention deleted"
    );
    describe_histogram!(
        "tidewire_job_claim_latency_seconds",
        Seconds,
        "from due to claimed"
    );
    describe_histogram!(
        "tidewire_job_run_seconds",
        Seconds,
        "from claimed to reported"
    );
    describe_gauge!(
        "tidewire_jobs_depth",
        "jobs by state: ready (due), scheduled, running"
    );
    describe_gauge!(
        "tidewire_jobs_oldest_ready_seconds",
        Seconds,
        "how long the oldest ready job has been due"
    );
}
