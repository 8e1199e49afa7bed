//! SQLite alone, in this process: no HTTP, no queue, one thread. The limit of batches and of jobs.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::schema::{NewEvent, NewJob, Store, timestamp};
use crate::bodies::{Events, NOOP, Rng, job_payload};
use crate::calibrate::millis;
use crate::limit::{first_id, sortable_id};
use crate::load::{insert_latencies, new_micros, record};
use crate::record::{Figure, Figures};
use crate::scratch;

/// Inserts `batch` events a transaction until the time is up; rows a second, and each transaction's time.
pub fn inserts(batch: usize, keyed: bool, warmup: Duration, measure: Duration) -> Result<Figures> {
    let folder = scratch::folder("bare")?;
    let mut store = Store::create(folder.path())?;
    let mut made = MadeEvents {
        bodies: Events::new(0, keyed),
        next_id: first_id(),
    };
    let mut micros = new_micros();
    let (mut rows, mut spent) = (0_u64, Duration::ZERO);
    let began = Instant::now();
    while began.elapsed() < warmup + measure {
        // Making the rows is not the store's work, and is left out of its time.
        let events: Vec<NewEvent> = (0..batch).map(|_| made.next()).collect();
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
            record(&mut micros, one.elapsed());
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
        kind: NOOP.to_owned(),
        queue: "default".to_owned(),
        payload: job_payload(&mut Rng::new(0), 0).to_string(),
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
}

impl MadeEvents {
    fn next(&mut self) -> NewEvent {
        let event = self.bodies.next();
        self.next_id += 1;
        NewEvent {
            id: sortable_id(self.next_id),
            kind: event.kind.to_owned(),
            stream: "default".to_owned(),
            subject: Some(event.subject().to_string()),
            payload: event.payload(0).to_string(),
            dedupe_key: event.key().map(|key| key.to_string()),
        }
    }
}
