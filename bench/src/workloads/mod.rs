//! What is asked of the contenders, one file a workload.

mod appends;
mod batches;
mod growth;
mod jobs;
mod latency;
mod memory;
mod sse;

use anyhow::Result;

use crate::args::{RunArgs, Workload};
use crate::bodies::Events;
use crate::load::NextBody;
use crate::peers::Peer;
use crate::record::{Case, Record, Section};
use crate::rounds::{Bench, Contender};
use crate::servers::Who;

const STREAM_PEERS: [Peer; 2] = [Peer::DurableStreams, Peer::DurableStreamsServer];

pub async fn run(bench: &Bench, args: &RunArgs) -> Result<Record> {
    let mut record = Record::default();
    for workload in args.workloads() {
        let cases = match workload {
            Workload::Appends => appends::run(bench).await?,
            Workload::Batches => batches::run(bench).await?,
            Workload::Jobs => jobs::run(bench).await?,
            Workload::Latency => latency::run(bench).await?,
            Workload::Sse => sse::run(bench).await?,
            Workload::Memory => memory::run(bench).await?,
            Workload::Growth => growth::run(bench).await?,
        };
        record
            .workloads
            .insert(workload.name().to_owned(), section(bench, args, cases));
    }
    Ok(record)
}

fn section(bench: &Bench, args: &RunArgs, cases: Vec<Case>) -> Section {
    let plan = &bench.plan;
    let settings = vec![
        format!(
            "{} rounds, rates over {} s after {} s of warm-up",
            plan.rounds,
            plan.measure.as_secs_f64(),
            plan.warmup.as_secs_f64()
        ),
        format!(
            "store {}; WAL, synchronous=FULL, wal_autocheckpoint 10000 for Tidewire, limits and River alike",
            args.store.name()
        ),
        "every contender starts over an empty folder and is measured warm".to_owned(),
    ];
    Section {
        machine: bench.machine.clone(),
        settings,
        cases,
    }
}

/// Tidewire, its limit and the streaming peers; the peers have no dedupe keys and are left out where those count.
fn stream_contenders(keyed: bool) -> Vec<Contender> {
    let mut contenders = vec![
        Contender::plain(Who::Tidewire),
        Contender::plain(Who::Limit),
    ];
    if !keyed {
        contenders.extend(STREAM_PEERS.map(|peer| Contender::plain(Who::Peer(peer))));
    }
    contenders
}

fn event_bodies(batch: Option<usize>, keyed: bool) -> impl Fn(usize) -> NextBody {
    move |connection| {
        let mut events = Events::new(connection as u64, keyed);
        match batch {
            None => Box::new(move |out: &mut Vec<u8>| events.one(out, 0)),
            Some(size) => Box::new(move |out: &mut Vec<u8>| events.batch(out, size, 0)),
        }
    }
}

fn keyed_name(keyed: bool) -> &'static str {
    if keyed { "keyed" } else { "plain" }
}

fn keyed_title(keyed: bool) -> &'static str {
    if keyed { ", dedupe keys" } else { "" }
}
