//! `tidewire fleet status`: the drift of a fleet.

use std::time::Duration;

use serde::Serialize;
use tidewire_client::{AttemptState, Client, FleetAgent};
use tidewire_core::{Clock, Time};

use super::number;
use crate::cli::{
    Fault,
    output::{Printer, Rows, clean, shorten},
};

/// Characters of a reason; `--json` has it whole.
const LONGEST_WHY: usize = 240;

/// How an agent stands to what it is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Standing {
    /// It tried what it is offered, and that did not work there.
    Failed,
    /// It runs something else, or nothing, and has not said why.
    Lagging,
    InStep,
    /// There is nothing for it.
    Idle,
}

#[derive(Default, Serialize)]
struct Summary {
    agents: usize,
    in_step: usize,
    lagging: usize,
    failed: usize,
    idle: usize,
    /// Of all of these.
    away: usize,
}

#[derive(Serialize)]
struct Line<'a> {
    standing: Standing,
    away: bool,
    #[serde(flatten)]
    agent: &'a FleetAgent,
}

pub(super) async fn run(
    client: &Client,
    printer: Printer,
    all: bool,
    away_after: Duration,
) -> Result<(), Fault> {
    let mut agents = Vec::new();
    for servers in [false, true] {
        let mut pages = client.fleet().agent_pages(servers, Some(500));
        while let Some(page) = pages.next_page().await? {
            // Most servers go by what they were started with, and there is nothing to say of it.
            let said = |agent: &FleetAgent| !servers || standing(agent) != Standing::Idle;
            agents.extend(page.into_iter().filter(said));
        }
    }
    let now = Clock::system().now();
    let since = now.minus(away_after);
    let mut lines: Vec<_> = agents
        .iter()
        .map(|agent| Line {
            standing: standing(agent),
            away: is_away(agent, since),
            agent,
        })
        .collect();
    let summary = sum(&lines);
    // Those first who need somebody.
    lines.sort_by(|a, b| (a.standing, &a.agent.agent_id).cmp(&(b.standing, &b.agent.agent_id)));
    lines.retain(|line| {
        all || line.away || matches!(line.standing, Standing::Failed | Standing::Lagging)
    });
    if printer.is_json() {
        return printer.json(&serde_json::json!({ "summary": summary, "agents": lines }));
    }
    printer.line(&said(&summary))?;
    if lines.is_empty() {
        return Ok(());
    }
    let mut rows = Rows::new(["AGENT", "STATE", "RUNNING", "OFFERED", "SEEN", "WHY"]);
    for line in &lines {
        let agent = line.agent;
        let name = match &agent.name {
            Some(name) => format!("{} ({name})", agent.agent_id),
            None => agent.agent_id.clone(),
        };
        rows.add([
            clean(&name).into_owned(),
            word(line),
            number(agent.running),
            number(agent.offered),
            seen(agent, now),
            why(agent),
        ]);
    }
    rows.print(printer)
}

fn standing(agent: &FleetAgent) -> Standing {
    let Some(offered) = agent.offered else {
        return Standing::Idle;
    };
    let failed = agent
        .last_attempt
        .as_ref()
        .is_some_and(|attempt| attempt.version == offered && attempt.state == AttemptState::Failed);
    match (failed, agent.running == Some(offered)) {
        (true, _) => Standing::Failed,
        (false, true) => Standing::InStep,
        (false, false) => Standing::Lagging,
    }
}

fn is_away(agent: &FleetAgent, since: Time) -> bool {
    agent.last_seen_at.is_none_or(|at| at < since)
}

/// How long ago, in one unit: a column of times tells less.
fn seen(agent: &FleetAgent, now: Time) -> String {
    let Some(at) = agent.last_seen_at else {
        return "-".to_owned();
    };
    let seconds = now.since(at).as_secs();
    let (number, unit) = match seconds {
        0..60 => (seconds, "s"),
        60..3_600 => (seconds / 60, "m"),
        3_600..86_400 => (seconds / 3_600, "h"),
        _ => (seconds / 86_400, "d"),
    };
    format!("{number}{unit} ago")
}

fn sum(lines: &[Line<'_>]) -> Summary {
    let mut summary = Summary {
        agents: lines.len(),
        ..Summary::default()
    };
    for line in lines {
        *match line.standing {
            Standing::Failed => &mut summary.failed,
            Standing::Lagging => &mut summary.lagging,
            Standing::InStep => &mut summary.in_step,
            Standing::Idle => &mut summary.idle,
        } += 1;
        summary.away += usize::from(line.away);
    }
    summary
}

fn said(summary: &Summary) -> String {
    let Summary {
        agents,
        in_step,
        lagging,
        failed,
        idle,
        away,
    } = summary;
    let others = [
        (lagging, "lagging"),
        (failed, "failed"),
        (idle, "idle"),
        (away, "away"),
    ];
    let others = others
        .iter()
        .filter(|(count, _)| **count > 0)
        .map(|(count, what)| format!(", {count} {what}"));
    let others: String = others.collect();
    let noun = if *agents == 1 { "agent" } else { "agents" };
    format!("{agents} {noun}: {in_step} in step{others}")
}

fn word(line: &Line<'_>) -> String {
    let word = match line.standing {
        Standing::Failed => "failed",
        Standing::Lagging => "lagging",
        Standing::InStep => "in step",
        Standing::Idle => "idle",
    };
    match line.away {
        true => format!("{word}, away"),
        false => word.to_owned(),
    }
}

/// Why the last try failed, also if something else is offered by now.
fn why(agent: &FleetAgent) -> String {
    let failed = agent
        .last_attempt
        .as_ref()
        .filter(|attempt| attempt.state == AttemptState::Failed);
    failed.map_or_else(
        || "-".to_owned(),
        |attempt| {
            let error = attempt.error.as_deref().unwrap_or("no reason was given");
            // What is offered by now may be another one.
            let told = match agent.offered == Some(attempt.version) {
                true => error.to_owned(),
                false => format!("version {}: {error}", attempt.version),
            };
            clean(&shorten(&told, LONGEST_WHY)).into_owned()
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(offered: Option<u64>, running: Option<u64>, failed: Option<u64>) -> FleetAgent {
        serde_json::from_value(serde_json::json!({
            "agent_id": "a", "name": null, "last_seen_at": null, "offered": offered, "running": running,
            "last_attempt": failed.map(|version| serde_json::json!({
                "version": version, "state": "failed", "error": "no", "at": "2026-01-31T12:00:00.000000Z",
            })),
        }))
        .unwrap()
    }

    #[test]
    fn who_failed_before_and_runs_what_is_offered_now_is_in_step() {
        for (offered, running, failed, expected) in [
            (Some(2), Some(2), None, Standing::InStep),
            (Some(3), Some(3), Some(2), Standing::InStep),
            (Some(2), Some(1), Some(2), Standing::Failed),
            (Some(3), Some(1), Some(2), Standing::Lagging),
            (Some(1), None, None, Standing::Lagging),
            (None, None, None, Standing::Idle),
        ] {
            let agent = agent(offered, running, failed);
            assert_eq!(standing(&agent), expected, "{agent:?}");
        }
        assert_eq!(why(&agent(Some(3), Some(1), Some(2))), "version 2: no");
        assert_eq!(why(&agent(Some(2), Some(1), Some(2))), "no");
    }

    #[test]
    fn when_it_was_seen_is_told_in_one_unit() {
        let mut agent = agent(None, None, None);
        assert_eq!(seen(&agent, Time::EPOCH), "-");
        agent.last_seen_at = Some(Time::EPOCH);
        for (seconds, told) in [
            (0, "0s ago"),
            (59, "59s ago"),
            (60, "1m ago"),
            (7_199, "1h ago"),
            (200_000, "2d ago"),
        ] {
            let now = Time::EPOCH.plus(Duration::from_secs(seconds));
            assert_eq!(seen(&agent, now), told);
        }
    }
}
