//! SQLite alone, in this process: no HTTP, no queue, one thread. The limit of batches and of jobs.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::schema::{NewEvent, NewJob, Store, timestamp};
use super::server::{first_id, sortable_id};
use crate::bodies::Events;
use crate::calibrate::millis;
use crate::load::{insert_latencies, new_micros};
use crate::record::{Figure, Figures};
use crate::scratch;

/// Inserts `batch` events a transaction until the time is up; rows a second, and each transaction's time.
pub fn inserts(batch: usize, keyed: bool, warmup: Duration, measure: Duration) -> Result<Figures> {
    let folder = scratch::folder("bare")?;
    let mut store = Store::create(folder.path())?;
    let mut made = MadeEvents {
        bodies: Events::new(0, keyed),
        next_id: first_id(),
        text: Vec::new(),
    };
    let mut micros = new_micros();
    let (mut rows, mut spent) = (0_u64, Duration::ZERO);
    let began = Instant::now();
    while began.elapsed() < warmup + measure {
        // Making the rows is not the store's work, and is left out of its time.
        let events: Vec<NewEvent> = (0..batch).map(|_| made.next()).collect::<Result<_>>()?;
        let one = Instant::now();
        store.begin()?;
        let now = timestamp();
        for event in &events {
            store.append(event, &now)?;
        }
        store.commit()?;
        if began.elapsed() >= warmup {
            rows += batch as u64;
            spent += one.elapsed();
            micros.saturating_record(u64::try_from(one.elapsed().as_micros())?.max(1));
        }
    }
    let mut figures = Figures::new();
    figures.insert(Figure::Rate, rows as f64 / spent.as_secs_f64());
    insert_latencies(&mut figures, &micros);
    Ok(figures)
}

/// Claims and completes a backlog in batches, each step a transaction of its own; jobs a second.
pub fn jobs(backlog: u64, batch: i64) -> Result<Figures> {
    let folder = scratch::folder("bare")?;
    let store = Store::create(folder.path())?;
    let job = NewJob {
        kind: "echo".to_owned(),
        queue: "default".to_owned(),
        payload: "{\"order\":123456,\"basket\":\"0123456789abcdef\"}".to_owned(),
    };
    store.begin()?;
    let now = timestamp();
    for _ in 0..backlog {
        store.enqueue(&job, &now)?;
    }
    store.commit()?;
    let mut done = 0;
    let began = Instant::now();
    while done < backlog {
        store.begin()?;
        let claimed = store.claim(batch, &timestamp())?;
        store.commit()?;
        store.begin()?;
        store.complete(&claimed, &timestamp())?;
        store.commit()?;
        done += claimed.len() as u64;
    }
    let seconds = millis(began.elapsed()) / 1_000.0;
    Ok(Figures::from([(Figure::Rate, done as f64 / seconds)]))
}

/// Events in the form that the store takes, from the bodies that are sent over HTTP elsewhere.
struct MadeEvents {
    bodies: Events,
    next_id: u64,
    text: Vec<u8>,
}

impl MadeEvents {
    fn next(&mut self) -> Result<NewEvent> {
        self.text.clear();
        self.bodies.one(&mut self.text, 0);
        let body: serde_json::Value = serde_json::from_slice(&self.text)?;
        self.next_id += 1;
        let text = |key: &str| body[key].as_str().map(str::to_owned);
        Ok(NewEvent {
            id: sortable_id(self.next_id),
            kind: text("type").unwrap_or_default(),
            stream: "default".to_owned(),
            subject: text("subject"),
            payload: body["payload"].to_string(),
            dedupe_key: text("dedupe_key"),
        })
    }
}
