//! Batched appends: an array a request from a few connections, so that one batch can be parsed while another is
//! written. The limit is the bare store, one connection, as many rows a transaction as the requests have events.

use anyhow::Result;

use super::{event_bodies, keyed_name, keyed_title, stream_contenders, until};
use crate::args::Store;
use crate::data::Data;
use crate::limit::postgres::{self, Arrival};
use crate::limit::sqlite::bare;
use crate::load;
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

    fn contenders(&self, bench: &Bench) -> Vec<Contender> {
        stream_contenders(bench, self.keyed)
    }

    async fn measure(&self, bench: &Bench, contender: Contender) -> Result<Measured> {
        let until = until(bench);
        match (contender.who, bench.store) {
            (Who::Limit, Store::Sqlite) => {
                let plan = &bench.plan;
                return Ok(bare::inserts(self.size, self.keyed, plan.warmup, plan.measure)?.into());
            }
            (Who::Limit, Store::Postgres) => {
                let data = Data::empty(bench, "bare").await?;
                let batches = Arrival::Batches {
                    rows: self.size,
                    connections: 1,
                };
                let outcome = postgres::events(&data, self.keyed, batches, until).await?;
                return Ok(outcome.figures(self.size as u64).into());
            }
            _ => {}
        }
        let server = servers::start(bench, contender.who).await?;
        let path = contender.who.append_path();
        let bodies = event_bodies(Some(self.size), self.keyed);
        let outcome = load::run(&server, path, CONNECTIONS, until, bodies).await?;
        server.stop().await?;
        Ok(outcome.figures(self.size as u64).into())
    }
}
