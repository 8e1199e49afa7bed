//! The clock: a trigger that fires by itself, and goes on for as long as the demo runs.

use std::time::Duration;

use serde_json::json;
use tidewire_client::{
    ExecutionStatus, NewTrigger, Source, TriggerEdit, TriggerStatus, TriggerType,
};
use tidewire_core::Clock;
use tokio::time::timeout;

use super::{
    stage::Stage,
    tally::{Flaw, same},
    webhook::settled,
};

const NAME: &str = "demo: every 10 s";
/// Nobody waits ten seconds for the first time.
const FIRST: Duration = Duration::from_secs(1);
/// The end of the demo does not wait for long.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) async fn run(stage: &Stage) -> Result<String, Flaw> {
    let clock = Clock::system();
    let due = clock.now().plus(FIRST);
    let config = json!({
        "every": "10s",
        "starts_at": due,
        "endpoint": format!("{}/hook", stage.receiver.url),
        "secret": stage.receiver.secret,
        "payload": {"say": "tick"},
    });
    let new = NewTrigger::new(NAME, TriggerType::IntervalScheduled, &config)?;
    let trigger = stage.trigger(&new).await?;
    same("the first time", Some(due), trigger.next_scheduled_run)?;

    let delivery = stage.receiver.first_of(&trigger.id).await?;
    let late = clock.now().since(due);
    same("what is delivered", json!({"say": "tick"}), delivery.body)?;
    let execution = settled(&stage.client, &delivery.execution).await?;
    same(
        "the execution",
        (Source::Scheduler, ExecutionStatus::Success),
        (execution.source, execution.execution_status),
    )?;
    let next = stage.client.triggers().get(&trigger.id).await?;
    let after = due.plus(Duration::from_secs(10));
    same("the next time", Some(after), next.next_scheduled_run)?;
    Ok(format!(
        "due at {due}, delivered {} ms later, signed; next at {after}",
        late.as_millis()
    ))
}

/// What fires into nothing once the receiver is gone, in data that stay, is set inactive.
pub(super) async fn rest(stage: &Stage) {
    let rest = async {
        let edit = TriggerEdit {
            status: Some(TriggerStatus::Inactive),
            ..TriggerEdit::default()
        };
        for trigger in stage.triggers().await? {
            if trigger.name == NAME {
                stage.client.triggers().update(&trigger.id, &edit).await?;
            }
        }
        Ok::<(), Flaw>(())
    };
    // A server that does not answer any more fires no more either.
    let _ = timeout(PATIENCE, rest).await;
}
