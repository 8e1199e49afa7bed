//! Agents that the server runs by itself.

use std::{sync::Arc, time::Duration};

use tidewire_core::name;
use tidewire_operator::{Limits, local::LocalAgent};

use super::{
    Bad, Role, Roles, Values,
    typed::{need, number, within},
};

const S: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);
const KIND: &str = "local:";

#[derive(Clone, Debug)]
pub struct Agents {
    /// None are run if it is empty.
    pub local: Vec<LocalAgent>,
    pub limits: Limits,
    pub idle_timeout: Duration,
    pub warm: u32,
    pub drain: Duration,
}

impl Agents {
    pub(super) fn new(values: &Values, roles: &Roles) -> Result<Self, Bad> {
        let count =
            |name: &'static str, least, most| values.read(name, |text| number(text, least, most));
        let span = |name: &'static str, least, most| {
            need(values.read(name, |text| within(text, least, most))?, name)
        };
        let local = values.read("agents", local_agents)?.unwrap_or_default();
        if !local.is_empty() && !roles.has(Role::Api) {
            return Err(Bad(format!(
                "--agents: instances take their turns from this process, and its --roles `{roles}` are without api: add it, or run `tidewire operator`"
            )));
        }
        Ok(Agents {
            local,
            limits: Limits {
                in_all: count("agents-max", 1, 10_000)?,
                per_tenant: count("agents-max-per-tenant", 1, 10_000)?,
            },
            idle_timeout: span("agents-idle-timeout", S, 30 * DAY)?,
            warm: need(count("agents-warm", 0, 1000)?, "agents-warm")?,
            drain: span("agents-drain", Duration::ZERO, 3600 * S)?,
        })
    }
}

/// `[NAME=]local:COMMAND`, or several with commas between them. A command may have commas too: only one that
/// another agent follows ends it.
pub fn local_agents(text: &str) -> Result<Vec<LocalAgent>, String> {
    let mut agents: Vec<LocalAgent> = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let ends = rest.match_indices(',').map(|(at, _)| at);
        let end = ends
            .into_iter()
            .find(|at| begun(&rest[at + 1..]).is_some())
            .unwrap_or(rest.len());
        let (one, behind) = rest.split_at(end);
        let agent = local_agent(one)?;
        if agents.iter().any(|it| it.agent == agent.agent) {
            return Err(match agent.agent {
                Some(name) => format!("names the agent `{name}` twice"),
                None => "has two agents without a name: of each turn one is meant".to_owned(),
            });
        }
        agents.push(agent);
        rest = behind.strip_prefix(',').unwrap_or(behind);
    }
    Ok(agents)
}

/// The name and the command, if an agent begins here.
fn begun(text: &str) -> Option<(Option<&str>, &str)> {
    let text = text.trim_start();
    if let Some(command) = text.strip_prefix(KIND) {
        return Some((None, command));
    }
    let (name, kind) = text.split_once('=')?;
    let is_name = name::check(name, name::ID_MAX).is_ok();
    let command = kind.strip_prefix(KIND).filter(|_| is_name)?;
    Some((Some(name), command))
}

fn local_agent(text: &str) -> Result<LocalAgent, String> {
    let form =
        "such as local:./agent.py, or support=local:./agent.py for turns of the agent support";
    let Some((agent, command)) = begun(text) else {
        return Err(format!(
            "`{}` is not [NAME=]local:COMMAND, {form}",
            text.trim()
        ));
    };
    let command = command.trim();
    if command.is_empty() {
        return Err(format!("`{}` has no command: {form}", text.trim()));
    }
    Ok(LocalAgent {
        agent: agent.map(Arc::from),
        command: command.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    fn agents(flags: &[(&'static str, &str)]) -> Result<Agents, String> {
        let flags = flags
            .iter()
            .map(|(name, text)| (*name, (*text).to_owned()))
            .collect();
        let values = Values::gather(&flags, |_| None, None).map_err(|bad| bad.to_string())?;
        let config = Config::new(&values).map_err(|bad| bad.to_string())?;
        Ok(config.agents)
    }

    fn named(text: &str) -> Vec<(Option<String>, String)> {
        let agents = local_agents(text).unwrap();
        let pair = |it: LocalAgent| (it.agent.map(|name| name.to_string()), it.command);
        agents.into_iter().map(pair).collect()
    }

    #[test]
    fn a_command_may_have_commas_and_equals_signs_in_it() {
        let named_a = |command: &str| (Some("a".to_owned()), command.to_owned());
        let unnamed = |command: &str| (None, command.to_owned());
        assert_eq!(named("local:run --x=1,2 y,z"), [unnamed("run --x=1,2 y,z")]);
        assert_eq!(
            named("a=local:X=1 run local:,local:other"),
            [named_a("X=1 run local:"), unnamed("other")]
        );
        assert_eq!(
            named("local:one, a=local:two"),
            [unnamed("one"), named_a("two")]
        );
        assert_eq!(named(""), []);
    }

    #[test]
    fn the_defaults_run_none() {
        let agents = agents(&[]).unwrap();
        assert!(agents.local.is_empty());
        assert_eq!(
            (agents.limits.in_all, agents.limits.per_tenant),
            (Some(16), None)
        );
        assert_eq!(agents.idle_timeout, 300 * S);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (flags, says) in [
            (&[("agents", "./agent.py")][..], "local:./agent.py"),
            (&[("agents", "docker:x")], "[NAME=]local:COMMAND"),
            (&[("agents", "local: ")], "has no command"),
            (&[("agents", "a b=local:x")], "[NAME=]local:COMMAND"),
            (&[("agents", "a=local:x,a=local:y")], "`a` twice"),
            (&[("agents", "local:x,local:y")], "without a name"),
            (&[("agents", "local:x"), ("roles", "worker")], "--roles"),
            (&[("agents-max", "0")], "--agents-max `0`"),
            (&[("agents-idle-timeout", "1ms")], "--agents-idle-timeout"),
        ] {
            let bad = agents(flags).unwrap_err();
            assert!(bad.contains(says) && !bad.contains('\n'), "{bad}");
        }
    }
}
