//! The log: an append, the same again, and a follower who hears it once.

use std::time::Instant;

use serde_json::json;
use tidewire_client::{NewEvent, TailQuery};

use super::{
    stage::Stage,
    tally::{Flaw, same},
};

pub(super) async fn run(stage: &Stage) -> Result<String, Flaw> {
    let events = stage.client.events();
    let stream = format!("demo-{}", stage.run);
    let mut tail = events.tail(TailQuery {
        stream: Some(stream.clone()),
        ..TailQuery::default()
    });
    tail.connect().await?;

    let payment = NewEvent::new("payment.completed")
        .stream(&stream)
        .subject("ann")
        .dedupe_key(format!("payment-{}", stage.run))
        .payload(&json!({"amount": 12.5}))?;
    let begun = Instant::now();
    let first = events.append(&payment).await?;
    let Some(heard) = tail.next().await else {
        return Err(Flaw::new("an event for the follower", "the stream's end"));
    };
    let late = begun.elapsed();
    let heard = heard?.event;
    let again = events.append(&payment).await?;
    let behind = events
        .append(&NewEvent::new("demo.marker").stream(&stream))
        .await?;
    let Some(next) = tail.next().await else {
        return Err(Flaw::new(
            "the next event for the follower",
            "the stream's end",
        ));
    };

    same("the first", (1, false), (first.seq, first.duplicated))?;
    same(
        "the same again",
        (first.id.as_str(), true),
        (again.id.as_str(), again.duplicated),
    )?;
    same("what the follower hears", first.id, heard.id)?;
    same(
        "what comes behind it",
        (behind.id, 2),
        (next?.event.id, behind.seq),
    )?;
    Ok(format!(
        "number 1 of the stream {stream}, stored once; the follower had it {} ms after it was sent",
        late.as_millis()
    ))
}
