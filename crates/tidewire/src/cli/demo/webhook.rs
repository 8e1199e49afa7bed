//! A webhook: what does not fit its schema is refused, what does is delivered and signed.

use std::time::Duration;

use serde_json::{json, value::to_raw_value};
use tidewire_client::{Client, Execution, ExecutionStatus, NewTrigger, TriggerType};
use tokio::time::sleep;

use super::{
    stage::Stage,
    tally::{Flaw, holds, same},
};

/// How often it is asked what became of a delivery.
const LOOK: Duration = Duration::from_millis(20);

pub(super) async fn run(stage: &Stage) -> Result<String, Flaw> {
    let client = &stage.client;
    let config = json!({
        "endpoint": format!("{}/hook", stage.receiver.url),
        "secret": stage.receiver.secret,
        "schema": {
            "type": "object",
            "required": ["amount"],
            "properties": {"amount": {"type": "number"}},
        },
    });
    let new = NewTrigger::new("demo: order paid", TriggerType::Webhook, &config)?;
    let trigger = stage.trigger(&new).await?;

    let wrong = to_raw_value(&json!({"amount": "a lot"}))?;
    let refused = client
        .triggers()
        .call_webhook(&trigger.id, &wrong, None)
        .await;
    let at = match &refused {
        Ok(_) => "202".to_owned(),
        Err(error) => {
            let errors = error.problem().map(|problem| problem.errors.as_slice());
            let at = errors.and_then(|errors| errors.first());
            at.map_or(error.to_string(), |error| error.pointer.clone())
        }
    };
    let expected = "a payload that does not fit the schema to be refused at /amount";
    holds(refused.is_err() && at.ends_with("/amount"), expected, &at)?;

    let paid = json!({"order": 17, "amount": 12.5});
    let set_off = client
        .triggers()
        .call_webhook(&trigger.id, &to_raw_value(&paid)?, None)
        .await?;
    let delivery = stage.receiver.first_of(&trigger.id).await?;
    same("what is delivered", &paid, &delivery.body)?;
    same("its id", &set_off.execution_id, &delivery.execution)?;
    let execution = settled(client, &delivery.execution).await?;
    same(
        "the execution",
        ExecutionStatus::Success,
        execution.execution_status,
    )?;
    same("its attempts", 1, execution.attempts.len())?;
    Ok("delivered once; the receiver checked the signature, which fits no other body; a call that broke the schema was refused".to_owned())
}

/// An execution that has ended, one way or the other.
pub(super) async fn settled(client: &Client, id: &str) -> Result<Execution, Flaw> {
    loop {
        let execution = client.executions().get(id).await?;
        if execution.execution_status != ExecutionStatus::Pending {
            return Ok(execution);
        }
        sleep(LOOK).await;
    }
}
