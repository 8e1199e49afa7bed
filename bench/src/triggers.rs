//! What the bench asks of Tidewire's triggers: that they are there, and what became of their firings.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::tidewire::Api;

/// Every delivery is signed with it.
const SECRET: &str = "whsec_dGlkZXdpcmUncyBiZW5jaCBzaWducyB3aXRoIHRoaXM=";
const PAGE: usize = 500;
/// Where deliveries wait for a worker.
pub const DELIVERIES: &str = "deliveries";

#[derive(Deserialize)]
struct Made {
    id: String,
}

#[derive(Deserialize)]
struct Pagination {
    total_pages: u64,
}

/// A firing that has ended, as far as the bench looks at it.
#[derive(Deserialize)]
pub struct Execution {
    pub id: String,
    pub trigger_id: String,
    pub fired_at: DateTime<Utc>,
    execution_status: String,
}

/// A job of a firing that was a no-op.
#[derive(Deserialize)]
pub struct FiredJob {
    /// The execution's id.
    pub event_id: String,
    pub started_at: Option<DateTime<Utc>>,
}

/// A job that delivered an event.
#[derive(Deserialize)]
pub struct Delivery {
    pub payload: DeliveredEvent,
    pub finished_at: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
pub struct DeliveredEvent {
    pub payload: EventPayload,
}

#[derive(Deserialize)]
pub struct EventPayload {
    pub sent_ns: u64,
}

#[derive(Deserialize)]
struct Occurrence {
    fire_at: DateTime<Utc>,
}

#[derive(Deserialize)]
struct Summary {
    by_status: Counts,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Counts {
    pending: u64,
    success: u64,
    failure: u64,
}

/// As a config has it.
pub fn timestamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

impl Api {
    /// Makes a trigger that delivers to this endpoint, signed; its id.
    pub async fn deliver(&mut self, kind: &str, endpoint: &str, config: Value) -> Result<String> {
        let mut config = config;
        config["endpoint"] = endpoint.into();
        config["secret"] = SECRET.into();
        let made: Made = self
            .post(
                "/v1/triggers",
                &json!({"name": "bench", "type": kind, "config": config}),
            )
            .await?;
        Ok(made.id)
    }

    /// The ids of all triggers.
    pub async fn triggers(&mut self) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        struct Page {
            triggers: Vec<Made>,
            pagination: Pagination,
        }
        let all = self
            .pages("/v1/triggers?", |page: Page| {
                (page.triggers, page.pagination)
            })
            .await?;
        Ok(all.into_iter().map(|trigger| trigger.id).collect())
    }

    /// All executions. One that did not end well would make the figures a lie.
    pub async fn executions(&mut self) -> Result<Vec<Execution>> {
        #[derive(Deserialize)]
        struct Page {
            events: Vec<Execution>,
            pagination: Pagination,
        }
        let all = self
            .pages("/v1/executions?", |page: Page| {
                (page.events, page.pagination)
            })
            .await?;
        match all.iter().find(|one| one.execution_status != "success") {
            Some(other) => bail!("execution {} is {}", other.id, other.execution_status),
            None => Ok(all),
        }
    }

    /// Which occurrences of a trigger were fired.
    pub async fn completed(&mut self, trigger: &str) -> Result<Vec<DateTime<Utc>>> {
        #[derive(Deserialize)]
        struct Page {
            schedules: Vec<Occurrence>,
            pagination: Pagination,
        }
        let path = format!("/v1/triggers/{trigger}/schedules?status=completed&");
        let all = self
            .pages(&path, |page: Page| (page.schedules, page.pagination))
            .await?;
        Ok(all
            .into_iter()
            .map(|occurrence| occurrence.fire_at)
            .collect())
    }

    /// An error unless so many executions are there, all of them successes.
    pub async fn all_delivered(&mut self, expected: u64) -> Result<()> {
        let summary: Summary = self.read("/v1/executions/summary?hours=1").await?;
        let wanted = Counts {
            pending: 0,
            success: expected,
            failure: 0,
        };
        if summary.by_status != wanted {
            bail!(
                "{expected} deliveries should be stored as successes: {:?}",
                summary.by_status
            );
        }
        Ok(())
    }

    async fn pages<P: DeserializeOwned, T>(
        &mut self,
        path: &str,
        read: impl Fn(P) -> (Vec<T>, Pagination),
    ) -> Result<Vec<T>> {
        let (mut all, mut page) = (Vec::new(), 1);
        loop {
            let answer: P = self
                .read(&format!("{path}limit={PAGE}&page={page}"))
                .await?;
            let (rows, pagination) = read(answer);
            all.extend(rows);
            if page >= pagination.total_pages {
                return Ok(all);
            }
            page += 1;
        }
    }
}

/// By trigger, the times of its firings in order, with their executions' ids.
pub fn by_trigger(executions: &[Execution]) -> BTreeMap<&str, Vec<(DateTime<Utc>, &str)>> {
    let mut all: BTreeMap<&str, Vec<(DateTime<Utc>, &str)>> = BTreeMap::new();
    for one in executions {
        let firings = all.entry(&one.trigger_id).or_default();
        firings.push((one.fired_at, &one.id));
    }
    for firings in all.values_mut() {
        firings.sort_unstable();
    }
    all
}
