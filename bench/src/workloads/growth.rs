//! Tidewire alone, as its tables grow: the rate of appends and of jobs at sizes a factor of ten apart, in one database
//! that is never emptied. Run once; each rate stands between two calibrations.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::jobs::noop_jobs;
use super::{keyed_name, keyed_title};
use crate::bodies::Events;
use crate::calibrate::{Calibration, Drift};
use crate::load::{self, NextBody, Until};
use crate::process::Server;
use crate::record::{Case, Figures, Role, Row};
use crate::rounds::{Bench, middle};
use crate::scratch;
use crate::servers::{self, Who};
use crate::tidewire::Api;

const BATCH: u64 = 1_000;
const APPEND_CONNECTIONS: usize = 4;
const JOB_CONNECTIONS: usize = 256;
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy)]
enum Grown {
    Events { keyed: bool },
    Jobs,
}

pub async fn run(bench: &Bench) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for grown in [
        Grown::Events { keyed: false },
        Grown::Events { keyed: true },
        Grown::Jobs,
    ] {
        match curve(bench, grown).await {
            Ok(points) => cases.extend(points),
            Err(error) => {
                let last = bench.plan.growth.last().copied().unwrap_or_default();
                cases.push(bench.lost(grown.id("all"), grown.title(last), &error));
            }
        }
    }
    Ok(cases)
}

impl Grown {
    fn id(self, rows: &str) -> String {
        match self {
            Self::Events { keyed } => format!("growth/{}/{rows}", keyed_name(keyed)),
            Self::Jobs => format!("growth/jobs/{rows}"),
        }
    }

    fn title(self, rows: u64) -> String {
        match self {
            Self::Events { keyed } => {
                format!(
                    "appends in batches of {BATCH} over {} events{}",
                    grouped(rows),
                    keyed_title(keyed)
                )
            }
            Self::Jobs => format!(
                "jobs enqueued and done over {} finished jobs",
                grouped(rows)
            ),
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Self::Events { .. } => "events",
            Self::Jobs => "jobs",
        }
    }
}

async fn curve(bench: &Bench, grown: Grown) -> Result<Vec<Case>> {
    bench.clear().await?;
    let server = servers::start(bench, Who::Tidewire).await?;
    let folder = scratch::root()?;
    // Keys must go on where they were, so all loads draw from one counter.
    let seed = Rc::new(Cell::new(0));
    let (mut cases, mut rows) = (Vec::new(), 0);
    for size in &bench.plan.growth {
        eprintln!("{}: filling", grown.title(*size));
        rows += fill(&server, grown, size.saturating_sub(rows), &seed).await?;
        let title = grown.title(rows);
        bench.settle().await?;
        let mut taken = vec![Calibration::take(&folder)?];
        let (figures, added) = rate(bench, &server, grown, rows, &seed).await?;
        rows += added;
        taken.push(Calibration::take(&folder)?);
        let moved = Drift::between(&taken);
        cases.push(Case {
            id: grown.id(&size.to_string()),
            title,
            unit: grown.unit().to_owned(),
            rows: vec![Row {
                who: Who::Tidewire.name(),
                role: Role::Tidewire,
                figures: figures.clone(),
                rounds: vec![figures],
                note: None,
            }],
            drifted_rounds: u32::from(!moved.is_allowed()),
            worst_drift: moved,
            calibration: middle(&taken),
        });
    }
    server.stop().await?;
    Ok(cases)
}

async fn fill(server: &Server, grown: Grown, rows: u64, seed: &Rc<Cell<u64>>) -> Result<u64> {
    if rows == 0 {
        return Ok(0);
    }
    let requests = match grown {
        Grown::Events { .. } => rows.div_ceil(BATCH),
        Grown::Jobs => rows,
    };
    let outcome = put(server, grown, Until::Calls(requests), seed).await?;
    Ok(match grown {
        Grown::Events { .. } => outcome.answered * BATCH,
        Grown::Jobs => outcome.answered,
    })
}

/// The rate at the present size, and how many rows it added.
async fn rate(
    bench: &Bench,
    server: &Server,
    grown: Grown,
    rows: u64,
    seed: &Rc<Cell<u64>>,
) -> Result<(Figures, u64)> {
    match grown {
        Grown::Events { .. } => {
            let until = Until::Elapsed {
                warmup: Duration::ZERO,
                measure: bench.plan.measure,
            };
            let outcome = put(server, grown, until, seed).await?;
            Ok((outcome.figures(BATCH), outcome.answered * BATCH))
        }
        Grown::Jobs => {
            let mut api = Api::open(server.addr).await?;
            api.wait_done(rows, PATIENCE).await?;
            let mut outcome = put(server, grown, Until::Calls(bench.plan.jobs), seed).await?;
            let waited = Instant::now();
            api.wait_done(rows + outcome.answered, PATIENCE).await?;
            // A job counts when it is done, not when it was taken in.
            outcome.elapsed += waited.elapsed();
            Ok((outcome.figures(1), outcome.answered))
        }
    }
}

async fn put(
    server: &Server,
    grown: Grown,
    until: Until,
    seed: &Rc<Cell<u64>>,
) -> Result<load::Outcome> {
    let next_seed = || {
        seed.set(seed.get() + 1);
        seed.get()
    };
    match grown {
        Grown::Events { keyed } => {
            let bodies = |_| -> NextBody {
                let mut events = Events::new(next_seed(), keyed);
                Box::new(move |out| events.batch(out, BATCH as usize, 0))
            };
            load::run(
                server,
                Who::Tidewire.append_path(),
                APPEND_CONNECTIONS,
                until,
                bodies,
            )
            .await
        }
        Grown::Jobs => load::run(server, "/v1/jobs", JOB_CONNECTIONS, until, noop_jobs).await,
    }
}

fn grouped(rows: u64) -> String {
    crate::report::grouped(rows as f64)
}
