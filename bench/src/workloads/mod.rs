//! What is asked of the contenders, one file a workload.

mod agents;
mod appends;
mod archives;
mod batches;
mod deliveries;
mod enqueue;
mod fleet;
mod growth;
mod held;
mod jobs;
mod latency;
mod memory;
mod schedules;
mod sites;
mod sse;
mod threads;

use anyhow::Result;

use crate::args::{RunArgs, Store, Workload};
use crate::bodies::Events;
use crate::load::{NextBody, Until};
use crate::peers::Peer;
use crate::record::{Case, Record, Section};
use crate::rounds::{Bench, Contender};
use crate::servers::Who;

const STREAM_PEERS: [Peer; 2] = [Peer::DurableStreams, Peer::DurableStreamsServer];

pub async fn run(bench: &Bench, args: &RunArgs) -> Result<Record> {
    let mut record = Record::default();
    for workload in args.workloads()? {
        let cases = match workload {
            Workload::Appends => appends::run(bench).await?,
            Workload::Batches => batches::run(bench).await?,
            Workload::Jobs => jobs::run(bench).await?,
            Workload::Latency => latency::run(bench).await?,
            Workload::Sse => sse::run(bench).await?,
            Workload::Memory => memory::run(bench).await?,
            Workload::Growth => growth::run(bench).await?,
            Workload::Enqueue => enqueue::run(bench).await?,
            Workload::Held => held::run(bench).await?,
            Workload::Schedules => schedules::run(bench).await?,
            Workload::Deliveries => deliveries::run(bench).await?,
            Workload::Threads => threads::run(bench).await?,
            Workload::Archives => archives::run(bench).await?,
            Workload::Sites => sites::run(bench).await?,
            Workload::Fleet => fleet::run(bench).await?,
            Workload::Agents => agents::run(bench).await?,
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
        match args.store {
            Store::Sqlite => "store SQLite; WAL, synchronous=FULL, wal_autocheckpoint 10000 for Tidewire, limits and \
                              River alike",
            Store::Postgres => "store PostgreSQL; one server for everybody, fsync and synchronous_commit on, \
                                shared_buffers 1GB, max_wal_size 4GB, max_connections 200",
        }
        .to_owned(),
        format!(
            "every contender starts over an empty {} and is measured warm",
            match args.store {
                Store::Sqlite => "folder",
                Store::Postgres => "database",
            }
        ),
    ];
    Section {
        machine: bench.machine.clone(),
        settings,
        cases,
    }
}

/// Tidewire, its limit and the streaming peers. These have a store of their own, to be compared with a file; they have
/// no dedupe keys, and are left out where those count.
fn stream_contenders(bench: &Bench, keyed: bool) -> Vec<Contender> {
    let mut contenders = vec![
        Contender::plain(Who::Tidewire),
        Contender::plain(Who::Limit),
    ];
    if !keyed && bench.store == Store::Sqlite {
        contenders.extend(STREAM_PEERS.map(|peer| Contender::plain(Who::Peer(peer))));
    }
    contenders
}

/// Whoever has jobs besides Tidewire.
fn queue_peers(bench: &Bench) -> impl Iterator<Item = Contender> {
    let peers = Peer::queues(bench.store).iter();
    peers.map(|peer| Contender::plain(Who::Peer(*peer)))
}

fn until(bench: &Bench) -> Until {
    Until::Elapsed {
        warmup: bench.plan.warmup,
        measure: bench.plan.measure,
    }
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
