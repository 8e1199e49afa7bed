//! A fleet: a config is pushed, an agent takes it to its worker, and the worker goes by it.

use std::time::{Duration, Instant};

use serde_json::{json, value::to_raw_value};
use tidewire_client::{AttemptState, FleetAgent, NewConfig};
use tidewire_outbound::Method;
use tokio::time::sleep;

use super::{
    receiver::GREETING,
    stage::{LABEL, Stage},
    tally::{Flaw, same},
};

/// How often it is asked who runs what.
const LOOK: Duration = Duration::from_millis(25);

pub(super) async fn run(stage: &Stage) -> Result<String, Flaw> {
    let url = format!("{}/greeting", stage.receiver.url);
    let config = NewConfig {
        config: to_raw_value(&json!({ "url": url }))?,
        labels: [(LABEL.0.to_owned(), LABEL.1.to_owned())].into(),
        percent: None,
        gate: None,
        note: Some("where to greet".to_owned()),
        author: Some("demo".to_owned()),
    };
    let begun = Instant::now();
    let version = stage.client.fleet().push(&config).await?.version;
    let agent = tried(stage, version).await?;
    let took = begun.elapsed();
    let attempt = agent
        .last_attempt
        .map(|attempt| (attempt.state, attempt.error));
    same(
        "what the agent says of it",
        Some((AttemptState::Applied, None)),
        attempt,
    )?;
    same("what it runs", Some(version), agent.running)?;
    let said = stage
        .ask(Method::GET, &format!("{}/hit", stage.fleet_worker), None)
        .await?;
    same("what the worker hands on", GREETING, &said)?;
    Ok(format!(
        "version {version} was at work {} ms after it was pushed; GET /hit answers “{}”",
        took.as_millis(),
        said.trim()
    ))
}

/// The agent, once it has tried this version.
async fn tried(stage: &Stage, version: u64) -> Result<FleetAgent, Flaw> {
    let is_it = |agent: &FleetAgent| {
        let attempt = agent.last_attempt.as_ref();
        attempt.is_some_and(|attempt| attempt.version == version)
    };
    loop {
        let agents = stage.client.fleet().agents(false, None, None).await?.items;
        if let Some(agent) = agents.into_iter().find(is_it) {
            return Ok(agent);
        }
        sleep(LOOK).await;
    }
}
