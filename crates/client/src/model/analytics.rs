//! What is counted by day.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Summary {
    pub from: NaiveDate,
    pub to: NaiveDate,
    pub events_received: u64,
    pub jobs_done: u64,
    pub jobs_failed: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Timeseries {
    pub days: Vec<Day>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Day {
    pub day: NaiveDate,
    pub events_received: u64,
    pub jobs_done: u64,
    pub jobs_failed: u64,
}
