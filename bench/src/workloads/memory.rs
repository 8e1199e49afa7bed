//! Memory of a server that has nothing to do, and the most it ever had under load.

use anyhow::Result;

use super::{STREAM_PEERS, event_bodies, queue_peers, until};
use crate::driver::{self, Task};
use crate::load;
use crate::peers::Peer;
use crate::record::{Case, Figure, Figures};
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

    fn contenders(&self, bench: &Bench) -> Vec<Contender> {
        let mut contenders = vec![
            Contender::plain(Who::Tidewire),
            Contender::plain(Who::Limit),
        ];
        contenders.extend(STREAM_PEERS.map(|peer| Contender::plain(Who::Peer(peer))));
        contenders.extend(queue_peers(bench));
        contenders
    }

    async fn measure(&self, bench: &Bench, contender: Contender) -> Result<Measured> {
        let plan = &bench.plan;
        if let Who::Peer(peer) = contender.who
            && Peer::queues(bench.store).contains(&peer)
        {
            return driver::run(bench, peer, &Task::idle(plan.settle.as_secs().max(1))).await;
        }
        let server = servers::start(bench, contender.who).await?;
        tokio::time::sleep(plan.settle).await;
        let idle = server.usage()?.rss_mib;
        let path = contender.who.append_path();
        let bodies = event_bodies(None, false);
        load::run(&server, path, CONNECTIONS, until(bench), bodies).await?;
        let peak = server.usage()?.peak_rss_mib;
        server.stop().await?;
        Ok(Figures::from([(Figure::RssMib, idle), (Figure::PeakRssMib, peak)]).into())
    }
}
