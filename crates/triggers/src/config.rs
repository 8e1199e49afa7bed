//! What a trigger does and when: its config, of the form that its type has.
//!
//! A config is stored as it was sent, without defaults written into it, and read anew where it is needed; what is kept
//! in memory is the result of [`Config::parse`]. Reading does not ask what time it is: a config that was good once stays
//! readable. What only a new config must keep to (its time lies ahead, its pattern fires) is [`Config::check_new`].

mod delivery;
mod document;
mod mask;
mod read;
mod schema;
mod secret;
mod when;

#[cfg(test)]
mod tests;

use std::time::Duration;

use serde_json::value::RawValue;
use tidewire_core::{
    FieldError, Problem, Time, duration, json,
    name::{self, ID_MAX, TYPE_MAX},
    problem::clip,
};

use crate::{
    filter::{Filter, TypePattern},
    model::TriggerType,
    occurrence::{Cron, Misfire, Occurrences, Zone},
    raw::Value,
};
use read::{Faults, Members};

pub use delivery::{DEFAULT_TIMEOUT, Delivery, Endpoint, Retry};
pub use document::{
    CronConfig, DeliveryConfig, EventConfig, IntervalConfig, JobConfig, RetryConfig, SecretConfig,
    TimeConfig, TriggerConfig, WebhookConfig,
};
pub(crate) use mask::shown_header;
pub use mask::{mask, unmask};
pub use schema::Schema;
pub use secret::Secret;

/// Bytes of a config.
pub const MAX_CONFIG: usize = 512 << 10;
/// Bytes of a payload.
pub const MAX_PAYLOAD: usize = 256 << 10;
/// The shortest interval, and the longest delay or interval.
const MIN_EVERY: Duration = Duration::from_secs(1);
const MAX_SPAN: Duration = Duration::from_secs(3650 * 86_400);

/// A config that was read.
#[derive(Clone, Debug)]
pub struct Config {
    pub action: Action,
    pub rule: Rule,
    /// What is delivered where the firing brings nothing of its own.
    pub payload: Option<Box<RawValue>>,
}

/// What a firing does.
#[derive(Clone, Debug)]
pub enum Action {
    Deliver(Box<Delivery>),
    Enqueue(JobSpec),
}

/// The job that a firing becomes instead of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobSpec {
    pub kind: String,
    pub queue: Option<String>,
    pub max_attempts: Option<u32>,
    pub timeout: Option<Duration>,
}

/// What makes the trigger fire.
#[derive(Clone, Debug)]
pub enum Rule {
    Webhook {
        schema: Option<Schema>,
        /// The URL alone is not enough.
        require_key: bool,
    },
    Time(RunAt),
    Cron {
        cron: Cron,
        starts_at: Option<Time>,
        ends_at: Option<Time>,
        misfire: Misfire,
    },
    Interval {
        every: Duration,
        starts_at: Option<Time>,
    },
    Event {
        event_type: TypePattern,
        filter: Option<Box<Filter>>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunAt {
    At(Time),
    /// After the config was saved.
    In(Duration),
}

impl Config {
    /// Reads a config. Pointers are relative to it; everything that is wrong with it is named.
    pub fn parse(kind: TriggerType, raw: &RawValue) -> Result<Self, Problem> {
        let bytes = raw.get().len();
        if bytes > MAX_CONFIG {
            return Err(Problem::invalid(
                "",
                format!("has {bytes} bytes, and {MAX_CONFIG} are the most"),
            ));
        }
        json::check(raw.get()).map_err(|fault| Problem::invalid(fault.pointer, fault.detail))?;
        let value = Value::of(raw);
        if !matches!(value, Value::Object(_)) {
            let what = value.kind();
            return Err(Problem::invalid(
                "",
                format!("must be an object, it is {what}"),
            ));
        }
        let mut faults = Faults::default();
        let mut members = Members::of(raw, "", &mut faults);
        let mut payload = members.take_any("payload").map(|raw| (raw, "/payload"));
        let action = action(&mut members, &mut payload, &mut faults);
        let rule = rule(kind, &mut members, &mut faults);
        members.close(
            &format!("the config of a {kind} trigger"),
            &document::fields(kind),
            &mut faults,
        );
        if let Some((payload, pointer)) = payload {
            check_payload(payload, pointer, rule.as_ref(), &mut faults);
        }
        Problem::all(faults.0)?;
        // Without a fault both were read.
        match (action, rule) {
            (Some(action), Some(rule)) => Ok(Config {
                action,
                rule,
                payload: payload.map(|(payload, _)| payload.to_owned()),
            }),
            _ => Err(Problem::invalid("", "cannot be read")),
        }
    }

    /// What a config must keep to when it is saved: it fires sooner or later.
    pub fn check_new(&self, now: Time) -> Result<(), Problem> {
        match &self.rule {
            Rule::Time(RunAt::At(at)) if *at < now => Err(Problem::invalid(
                "/run_at",
                format!("`{at}` is past: it is {now}"),
            )),
            Rule::Cron {
                starts_at, ends_at, ..
            } => {
                self.check_fires(now)?;
                if let Some(end) = ends_at
                    && self
                        .occurrences(now)
                        .is_some_and(|of| of.next_after(now).is_none())
                {
                    let from = starts_at.map_or(now, |start| start.max(now));
                    return Err(Problem::invalid(
                        "/ends_at",
                        format!("`{end}` comes before the first firing after {from}"),
                    ));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Refuses a cron pattern that never fires, whatever its start and end.
    pub fn check_fires(&self, now: Time) -> Result<(), Problem> {
        match &self.rule {
            Rule::Cron { cron, .. } if cron.next_after(now).is_none() => Err(Problem::invalid(
                "/cron",
                "never fires: it names no time that comes in the next 50 years",
            )),
            _ => Ok(()),
        }
    }

    /// The firings of a trigger that has any by itself. `saved_at` is when this config was stored, from where delays and
    /// intervals count.
    #[must_use]
    pub fn occurrences(&self, saved_at: Time) -> Option<Occurrences> {
        match &self.rule {
            Rule::Webhook { .. } | Rule::Event { .. } => None,
            Rule::Time(RunAt::At(at)) => Some(Occurrences::once(*at)),
            Rule::Time(RunAt::In(delay)) => Some(Occurrences::once(saved_at.plus(*delay))),
            Rule::Interval { every, starts_at } => {
                let start = starts_at.unwrap_or_else(|| saved_at.plus(*every));
                Some(Occurrences::every(start, *every))
            }
            Rule::Cron {
                cron,
                starts_at,
                ends_at,
                ..
            } => Some(Occurrences::cron(cron.clone(), *starts_at, *ends_at)),
        }
    }

    /// What becomes of its firings that were missed. Only a cron trigger can choose.
    #[must_use]
    pub fn misfire(&self) -> Misfire {
        match self.rule {
            Rule::Cron { misfire, .. } => misfire,
            _ => Misfire::default(),
        }
    }
}

/// Either a delivery or a job.
fn action<'a>(
    members: &mut Members<'a>,
    payload: &mut Option<(&'a RawValue, &'static str)>,
    faults: &mut Faults,
) -> Option<Action> {
    let Some(job) = members.take("job") else {
        let endpoint = members.parsed("endpoint", faults, Endpoint::parse);
        let form = "to deliver to, or a `job` to enqueue";
        require(members, "endpoint", endpoint.is_some(), form, faults);
        let delivery = delivery::read(endpoint, members, faults)?;
        return Some(Action::Deliver(Box::new(delivery)));
    };
    for name in ["endpoint", "http_method", "headers", "secret"] {
        if members.take_any(name).is_some() {
            faults.add(
                members.pointer(name),
                "is about a delivery, and a trigger with a `job` makes none: leave one of them out",
            );
        }
    }
    let timeout = delivery::timeout(members, faults);
    let retry = delivery::retry(members, faults);
    if retry.base.is_some() || retry.cap.is_some() {
        faults.add(
            members.pointer("retry"),
            "a job's retries wait as its type has it: only `max_attempts` can be set",
        );
    }
    let mut job = Members::of(job, members.pointer("job"), faults);
    let kind = job.parsed("type", faults, |text| {
        name::check(text, TYPE_MAX).map(|()| text.to_owned())
    });
    let queue = job.parsed("queue", faults, |text| {
        name::check(text, ID_MAX).map(|()| text.to_owned())
    });
    if let Some(inner) = job.take_any("payload")
        && payload.replace((inner, "/job/payload")).is_some()
    {
        faults.add("/payload", "is given twice: here and in the job");
    }
    let form = "of 1 to 255 characters";
    require(&job, "type", kind.is_some(), form, faults);
    job.close("a `job`", &["type", "queue", "payload"], faults);
    Some(Action::Enqueue(JobSpec {
        kind: kind?,
        queue,
        max_attempts: retry.max_attempts,
        timeout,
    }))
}

fn check_payload(payload: &RawValue, pointer: &str, rule: Option<&Rule>, faults: &mut Faults) {
    let bytes = payload.get().len();
    if bytes > MAX_PAYLOAD {
        faults.add(
            pointer,
            format!("has {bytes} bytes, and {MAX_PAYLOAD} are the most"),
        );
    } else if let Some(Rule::Webhook {
        schema: Some(schema),
        ..
    }) = rule
        && let Err(problem) = schema.check(payload)
    {
        faults.0.extend(problem.under(pointer).errors);
    }
}

fn rule(kind: TriggerType, members: &mut Members<'_>, faults: &mut Faults) -> Option<Rule> {
    match kind {
        TriggerType::Webhook => {
            let schema = members.take("schema").and_then(|raw| {
                Schema::parse(raw)
                    .map_err(|error| {
                        faults.add(format!("/schema{}", error.pointer), error.detail);
                    })
                    .ok()
            });
            Some(Rule::Webhook {
                schema,
                require_key: members.flag("require_key", faults).unwrap_or(false),
            })
        }
        TriggerType::TimeScheduled => time(members, faults).map(Rule::Time),
        TriggerType::CronScheduled => cron(members, faults),
        TriggerType::IntervalScheduled => {
            let every = members.parsed("every", faults, |text| span(text, MIN_EVERY));
            require(members, "every", every.is_some(), "such as \"30m\"", faults);
            let starts_at = members.parsed("starts_at", faults, |text| when::parse(text, None));
            Some(Rule::Interval {
                every: every?,
                starts_at,
            })
        }
        TriggerType::Event => {
            let event_type = members.parsed("event_type", faults, TypePattern::parse);
            let form = "such as \"order.created\" or \"order.*\"";
            require(members, "event_type", event_type.is_some(), form, faults);
            let filter = members
                .take("filter")
                .and_then(|raw| match Filter::parse(raw) {
                    Ok(filter) => Some(Box::new(filter)),
                    Err(problem) => {
                        faults.0.extend(problem.under("/filter").errors);
                        None
                    }
                });
            Some(Rule::Event {
                event_type: event_type?,
                filter,
            })
        }
    }
}

fn time(members: &mut Members<'_>, faults: &mut Faults) -> Option<RunAt> {
    let (has_at, has_delay) = (members.has("run_at"), members.has("delay"));
    let zone = zone(members, faults);
    // With a zone that is none the local time cannot be told, which is one fault, not two.
    let zone_failed = faults.0.iter().any(|fault| fault.pointer == "/timezone");
    let at = members.parsed("run_at", faults, |text| {
        let zone = zone.or(zone_failed.then_some(Zone::UTC));
        when::parse(text, zone)
    });
    let delay = members.parsed("delay", faults, |text| span(text, Duration::ZERO));
    match (has_at, has_delay) {
        (true, true) => {
            faults.add("/delay", "is another form of `run_at`: give one of them");
            None
        }
        (false, false) => {
            faults.add(
                "/run_at",
                "is missing: give a `run_at` such as \"2026-01-31T12:00:00Z\", or a `delay` such as \"10m\"",
            );
            None
        }
        _ => at.map(RunAt::At).or(delay.map(RunAt::In)),
    }
}

fn cron(members: &mut Members<'_>, faults: &mut Faults) -> Option<Rule> {
    let zone = zone(members, faults).unwrap_or(Zone::UTC);
    let cron = members.parsed("cron", faults, |text| Cron::parse(text, zone));
    require(
        members,
        "cron",
        cron.is_some(),
        "such as \"*/15 * * * *\"",
        faults,
    );
    let starts_at = members.parsed("starts_at", faults, |text| when::parse(text, Some(zone)));
    let ends_at = members.parsed("ends_at", faults, |text| when::parse(text, Some(zone)));
    if let (Some(start), Some(end)) = (starts_at, ends_at)
        && end < start
    {
        faults.add("/ends_at", "is before `starts_at`");
    }
    let misfire = members.parsed("misfire", faults, |text| clip(text).parse());
    Some(Rule::Cron {
        cron: cron?,
        starts_at,
        ends_at,
        misfire: misfire.unwrap_or_default(),
    })
}

fn zone(members: &mut Members<'_>, faults: &mut Faults) -> Option<Zone> {
    members.parsed("timezone", faults, Zone::parse)
}

fn span(text: &str, low: Duration) -> Result<Duration, String> {
    let span = duration::parse(&clip(text))?;
    if span < low || span > MAX_SPAN {
        return Err(format!(
            "must be {} to {}, it is {}",
            duration::format(low),
            duration::format(MAX_SPAN),
            duration::format(span)
        ));
    }
    Ok(span)
}

/// Notes a field that must be there and is not; one that is there and wrong has its fault already.
fn require(members: &Members<'_>, name: &str, found: bool, form: &str, faults: &mut Faults) {
    let pointer = members.pointer(name);
    let known = |fault: &FieldError| fault.pointer == pointer || members.is_at(&fault.pointer);
    if !found && !faults.0.iter().any(known) {
        faults.add(pointer, format!("is missing: give one {form}"));
    }
}
