//! Enqueueing alone: one job a call from 1, 64 and 256 callers, and in bulk by those who have an interface for it.

use anyhow::Result;

use super::jobs::noop_jobs;
use super::{queue_peers, until};
use crate::data::Data;
use crate::driver::{self, Task};
use crate::limit::postgres::{self, Arrival};
use crate::load;
use crate::peers::Peer;
use crate::record::Case;
use crate::rounds::{self, Bench, Contender, Measured, Scenario};
use crate::servers::{self, Who};

/// Connections that enqueue in bulk side by side.
const BULK_CONNECTIONS: usize = 2;

enum Enqueue {
    Singly { callers: usize },
    Bulk { rows: usize },
}

pub async fn run(bench: &Bench) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for callers in [1, 64, 256] {
        cases.push(rounds::run(bench, &Enqueue::Singly { callers }).await?);
    }
    for rows in [100, 1_000] {
        cases.push(rounds::run(bench, &Enqueue::Bulk { rows }).await?);
    }
    Ok(cases)
}

impl Scenario for Enqueue {
    fn id(&self) -> String {
        match self {
            Self::Singly { callers } => format!("enqueue/{callers}"),
            Self::Bulk { rows } => format!("enqueue/bulk/{rows}"),
        }
    }

    fn title(&self) -> String {
        match self {
            Self::Singly { callers: 1 } => "enqueue, 1 job a call, 1 caller".to_owned(),
            Self::Singly { callers } => format!("enqueue, 1 job a call, {callers} callers"),
            Self::Bulk { rows } => {
                format!("enqueue, {rows} jobs a call, {BULK_CONNECTIONS} callers")
            }
        }
    }

    fn unit(&self) -> &'static str {
        "jobs"
    }

    fn contenders(&self, bench: &Bench) -> Vec<Contender> {
        let mut contenders = vec![Contender::plain(Who::Limit)];
        match self {
            Self::Singly { callers } => {
                contenders.insert(0, Contender::plain(Who::Tidewire));
                // Beyond their connections peers only queue up inside their own process.
                if *callers <= 64 {
                    contenders.extend(queue_peers(bench));
                }
            }
            Self::Bulk { .. } => contenders.extend(queue_peers(bench)),
        }
        contenders
    }

    async fn measure(&self, bench: &Bench, contender: Contender) -> Result<Measured> {
        let (each, arrival) = match *self {
            Self::Singly { callers } => (1, Arrival::Singly { callers }),
            Self::Bulk { rows } => {
                let connections = BULK_CONNECTIONS;
                (rows as u64, Arrival::Batches { rows, connections })
            }
        };
        match contender.who {
            Who::Peer(peer) => self.peer(bench, peer).await,
            Who::Limit => {
                let data = Data::empty(bench, "bare").await?;
                let outcome = postgres::jobs(&data, arrival, until(bench)).await?;
                Ok(outcome.figures(each).into())
            }
            Who::Tidewire => {
                // Nobody works them: what is measured is enqueueing.
                let data = Data::empty(bench, "data").await?;
                let server = servers::tidewire(bench, data, &["--roles", "api"]).await?;
                let callers = match *self {
                    Self::Singly { callers } => callers,
                    Self::Bulk { .. } => BULK_CONNECTIONS,
                };
                let outcome =
                    load::run(&server, "/v1/jobs", callers, until(bench), noop_jobs).await?;
                server.stop().await?;
                Ok(outcome.figures(1).into())
            }
        }
    }
}

impl Enqueue {
    async fn peer(&self, bench: &Bench, peer: Peer) -> Result<Measured> {
        let (callers, batch) = match *self {
            Self::Singly { callers } => (callers, 1),
            Self::Bulk { rows } => (BULK_CONNECTIONS, rows),
        };
        let task = Task::new("enqueue")
            .with("batch", batch as u64)
            .with("callers", callers as u64)
            .with("warmup-ms", u64::try_from(bench.plan.warmup.as_millis())?)
            .with("measure-ms", u64::try_from(bench.plan.measure.as_millis())?);
        driver::run(bench, peer, &task).await
    }
}
