//! Single appends over HTTP: one event a request, each answered after its commit.

use anyhow::Result;

use super::{event_bodies, keyed_name, keyed_title, stream_contenders, until};
use crate::args::Store;
use crate::data::Data;
use crate::limit::postgres::{self, Arrival};
use crate::load;
use crate::record::Case;
use crate::rounds::{self, Bench, Contender, Measured, Scenario};
use crate::servers::{self, Who};

struct Appends {
    connections: usize,
    keyed: bool,
}

pub async fn run(bench: &Bench) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for keyed in [false, true] {
        for connections in [1, 64, 256] {
            cases.push(rounds::run(bench, &Appends { connections, keyed }).await?);
        }
    }
    Ok(cases)
}

impl Scenario for Appends {
    fn id(&self) -> String {
        format!("appends/{}/{}", self.connections, keyed_name(self.keyed))
    }

    fn title(&self) -> String {
        let plural = if self.connections == 1 { "" } else { "s" };
        format!(
            "single appends, {} connection{plural}{}",
            self.connections,
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
        if contender.who == Who::Limit && bench.store == Store::Postgres {
            let data = Data::empty(bench, "bare").await?;
            let singly = Arrival::Singly {
                callers: self.connections,
            };
            let outcome = postgres::events(&data, self.keyed, singly, until).await?;
            return Ok(outcome.figures(1).into());
        }
        let server = servers::start(bench, contender.who).await?;
        let path = contender.who.append_path();
        let bodies = event_bodies(None, self.keyed);
        let outcome = load::run(&server, path, self.connections, until, bodies).await?;
        server.stop().await?;
        Ok(outcome.figures(1).into())
    }
}
