//! An archive: a thousand readings leave the database, and are read as if they had not.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tidewire_client::{Client, EventQuery, Events, Job, JobStatus, NewArchives, NewEvent};
use tokio::time::sleep;

use super::{
    stage::Stage,
    tally::{Flaw, holds, same},
};

/// How often it is asked how far the job is.
const LOOK: Duration = Duration::from_millis(25);

/// What the job says that it has done.
#[derive(Deserialize)]
struct Ran {
    events: u64,
    trimmed: u64,
}

pub(super) async fn run(stage: &Stage) -> Result<String, Flaw> {
    let client = &stage.client;
    let stream = format!("kitchen-{}", stage.run);
    let readings = (0..Events::MOST_EVENTS)
        .map(|n| {
            let event = NewEvent::new("reading").stream(&stream);
            event.payload(&json!({"minute": n, "celsius": 20.0 + (n % 60) as f64 / 10.0}))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let count = readings.len() as u64;
    client.events().append_many(&readings).await?;
    let before = all(stage, &stream).await?;
    same("the readings", count, before.len() as u64)?;

    let what = NewArchives {
        stream: Some(stream.clone()),
        trim: true,
        ..NewArchives::default()
    };
    let job = done(client.archives().create(&what).await?, client).await?;
    let output = job.output.as_ref().map_or("null", |output| output.get());
    let ran: Ran = serde_json::from_str(output)?;
    same("what is archived", count, ran.events)?;
    // A stream's last event stays, and with it the stream's number.
    same("what has left the database", count - 1, ran.trimmed)?;

    let archives = client
        .archives()
        .list(Some(&stream), None, None)
        .await?
        .items;
    let sealed: Vec<_> = archives.iter().map(|it| (it.from_seq, it.to_seq)).collect();
    same("its archives", vec![(1, count)], sealed)?;
    let after = all(stage, &stream).await?;
    holds(
        before == after,
        "the events as they were",
        format_args!("{} that differ", differing(&before, &after)),
    )?;
    let bytes: u64 = archives.iter().map(|archive| archive.bytes).sum();
    Ok(format!(
        "{count} events in a file of {}; {} left the database, and all are read as before, to the letter",
        indicatif::HumanBytes(bytes),
        ran.trimmed
    ))
}

/// The job when it has ended well. It has no reason to try twice: what its first attempt says is told at once.
async fn done(mut job: Job, client: &Client) -> Result<Job, Flaw> {
    while job.status != JobStatus::Done {
        if let Some(why) = job.last_error {
            return Err(Flaw::new("the archive to be made", why));
        }
        sleep(LOOK).await;
        job = client.jobs().get(&job.id).await?;
    }
    Ok(job)
}

/// All of a stream, each event as the JSON that it is.
async fn all(stage: &Stage, stream: &str) -> Result<Vec<String>, Flaw> {
    let mut pages = stage.client.events().pages(EventQuery {
        stream: Some(stream.to_owned()),
        limit: Some(500),
        ..EventQuery::default()
    });
    let mut found = Vec::new();
    while let Some(page) = pages.next_page().await? {
        for event in page {
            found.push(serde_json::to_string(&event)?);
        }
    }
    Ok(found)
}

fn differing(before: &[String], after: &[String]) -> usize {
    let pairs = before.iter().zip(after);
    let longer = before.len().abs_diff(after.len());
    longer + pairs.filter(|(one, other)| one != other).count()
}
