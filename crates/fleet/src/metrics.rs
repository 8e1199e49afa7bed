//! What operators see of a controller.

use metrics::{Counter, counter, describe_counter, describe_gauge};

/// HELP texts.
pub fn describe() {
    describe_counter!(
        "tidewire_fleet_config_answers_total",
        "answers to agents that asked for their config, by what was said"
    );
    describe_counter!(
        "tidewire_fleet_config_store_queries_total",
        "queries that the store was asked for such an answer; what has not changed is answered without"
    );
    describe_gauge!(
        "tidewire_fleet_held",
        "agents that are told of a change at once: held answers and watches"
    );
}

/// The counters of answers, looked up once: an unchanged config is answered in microseconds.
pub(crate) struct Answers {
    pub changed: Counter,
    pub unchanged: Counter,
    pub none: Counter,
    /// Queries for answers.
    pub queries: Counter,
}

impl Answers {
    pub fn new() -> Self {
        let said =
            |said: &'static str| counter!("tidewire_fleet_config_answers_total", "said" => said);
        Answers {
            changed: said("config"),
            unchanged: said("unchanged"),
            none: said("none"),
            queries: counter!("tidewire_fleet_config_store_queries_total"),
        }
    }
}

/// One who is held, for as long as this lives.
pub(crate) struct HeldOne;

impl HeldOne {
    pub fn new() -> Self {
        metrics::gauge!("tidewire_fleet_held").increment(1.0);
        HeldOne
    }
}

impl Drop for HeldOne {
    fn drop(&mut self) {
        metrics::gauge!("tidewire_fleet_held").decrement(1.0);
    }
}
