//! Batched appends: an array a request from a few connections, so that one batch can be parsed while another is
//! written. The limit is SQLite alone, one thread, as many rows a transaction as the requests have events.

use anyhow::Result;

use super::{event_bodies, keyed_name, keyed_title, stream_contenders};
use crate::limit::bare;
use crate::load::{self, Until};
use crate::record::Case;
use crate::rounds::{self, Bench, Contender, Measured, Scenario};
use crate::servers::{self, Who};

const CONNECTIONS: usize = 4;

struct Batches {
    size: usize,
    keyed: bool,
}

pub async fn run(bench: &Bench) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for keyed in [false, true] {
        for size in [100, 1_000] {
            cases.push(rounds::run(bench, &Batches { size, keyed }).await?);
        }
    }
    Ok(cases)
}

impl Scenario for Batches {
    fn id(&self) -> String {
        format!("batches/{}/{}", self.size, keyed_name(self.keyed))
    }

    fn title(&self) -> String {
        format!(
            "batches of {}, {CONNECTIONS} connections{}",
            self.size,
            keyed_title(self.keyed)
        )
    }

    fn unit(&self) -> &'static str {
        "events"
    }

    fn contenders(&self) -> Vec<Contender> {
        stream_contenders(self.keyed)
    }

    async fn measure(&self, bench: &Bench, contender: Contender) -> Result<Measured> {
        let plan = &bench.plan;
        if contender.who == Who::Limit {
            return Ok(bare::inserts(self.size, self.keyed, plan.warmup, plan.measure)?.into());
        }
        let server = servers::start(bench, contender.who).await?;
        let until = Until::Elapsed {
            warmup: plan.warmup,
            measure: plan.measure,
        };
        let path = contender.who.append_path();
        let bodies = event_bodies(Some(self.size), self.keyed);
        let outcome = load::run(&server, path, CONNECTIONS, until, bodies).await?;
        server.stop().await?;
        Ok(outcome.figures(self.size as u64).into())
    }
}
