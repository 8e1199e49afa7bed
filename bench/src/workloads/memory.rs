//! Memory of a server that has nothing to do, and the most it ever had under load.

use anyhow::Result;

use super::{STREAM_PEERS, event_bodies};
use crate::load::{self, Until};
use crate::peers::Peer;
use crate::record::{Case, Figure, Figures};
use crate::river;
use crate::rounds::{self, Bench, Contender, Measured, Scenario};
use crate::servers::{self, Who};

const CONNECTIONS: usize = 64;

struct Memory;

pub async fn run(bench: &Bench) -> Result<Vec<Case>> {
    Ok(vec![rounds::run(bench, &Memory).await?])
}

impl Scenario for Memory {
    fn id(&self) -> String {
        "memory/idle".to_owned()
    }

    fn title(&self) -> String {
        format!(
            "memory: idle after start, and the peak of single appends from {CONNECTIONS} connections"
        )
    }

    fn unit(&self) -> &'static str {
        "events"
    }

    fn contenders(&self) -> Vec<Contender> {
        let mut contenders = vec![
            Contender::plain(Who::Tidewire),
            Contender::plain(Who::Limit),
        ];
        contenders.extend(STREAM_PEERS.map(|peer| Contender::plain(Who::Peer(peer))));
        contenders.push(Contender::plain(Who::Peer(Peer::River)));
        contenders
    }

    async fn measure(&self, bench: &Bench, contender: Contender) -> Result<Measured> {
        let plan = &bench.plan;
        if contender.who == Who::Peer(Peer::River) {
            let seconds = plan.settle.as_secs().max(1).to_string();
            return river::run(bench, &["idle", "--seconds", &seconds], 0).await;
        }
        let server = servers::start(bench, contender.who).await?;
        tokio::time::sleep(plan.settle).await;
        let idle = server.usage()?.rss_mib;
        let until = Until::Elapsed {
            warmup: plan.warmup,
            measure: plan.measure,
        };
        let path = contender.who.append_path();
        let outcome =
            load::run(&server, path, CONNECTIONS, until, event_bodies(None, false)).await?;
        server.stop().await?;
        Ok(Figures::from([
            (Figure::RssMib, idle),
            (Figure::PeakRssMib, outcome.peak_rss_mib),
        ])
        .into())
    }
}
