//! A trigger's config on the command line: as JSON, by flags, or both, where the flags win.

use std::{collections::BTreeMap, time::Duration};

use clap::ValueEnum;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::{RawValue, to_raw_value};
use tidewire_client::TriggerType;
use tidewire_core::duration;

use super::super::{Fault, payload};

/// A config's fields by their names; each keeps its text.
type Fields = BTreeMap<String, Box<RawValue>>;

/// What stands for something else: who says the one takes the other back.
const EITHER: [(&str, &[&str]); 4] = [
    ("endpoint", &["job"]),
    ("job", &["endpoint", "http_method", "headers", "secret"]),
    ("run_at", &["delay"]),
    ("delay", &["run_at"]),
];

#[derive(clap::Args)]
pub(super) struct ConfigFlags {
    /// The config as JSON: a file, or - for standard input; flags win over what stands in it
    #[arg(long, value_name = "FILE|-", help_heading = "Config")]
    config: Option<String>,
    /// What makes it fire; what is given below tells, and it is a webhook without any of it
    #[arg(
        long = "type",
        value_name = "TYPE",
        value_enum,
        help_heading = "Config"
    )]
    kind: Option<Kind>,

    /// Deliver to this URL
    #[arg(
        long,
        value_name = "URL",
        conflicts_with = "job",
        help_heading = "What it does"
    )]
    endpoint: Option<String>,
    /// Make a job of this type instead
    #[arg(long, value_name = "TYPE", help_heading = "What it does")]
    job: Option<String>,
    /// The job's queue
    #[arg(
        long,
        value_name = "QUEUE",
        requires = "job",
        help_heading = "What it does"
    )]
    queue: Option<String>,
    /// GET, POST, PUT, PATCH or DELETE; POST if it is missing
    #[arg(long, value_name = "METHOD", help_heading = "What it does")]
    method: Option<String>,
    /// A header to send along; may come several times
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header, help_heading = "What it does")]
    headers: Vec<(String, String)>,
    /// What is delivered: JSON, @FILE, or - for standard input
    #[arg(
        long,
        value_name = "JSON|@FILE|-",
        allow_hyphen_values = true,
        help_heading = "What it does"
    )]
    pub payload: Option<String>,
    /// Sign deliveries with this; several while it is rotated. @FILE keeps it off the command line
    #[arg(
        long = "secret",
        value_name = "SECRET|@FILE",
        help_heading = "What it does"
    )]
    secrets: Vec<String>,
    /// How long an attempt may take, such as 15s
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, help_heading = "What it does")]
    timeout: Option<Duration>,
    /// How often it is tried, 1 to 100
    #[arg(long, value_name = "N", help_heading = "What it does")]
    max_attempts: Option<u32>,

    /// Fire on a pattern: five fields, six with seconds, or @daily and the like
    #[arg(long, value_name = "PATTERN", help_heading = "When it fires")]
    cron: Option<String>,
    /// The zone of --cron or --run-at, such as Europe/Berlin; UTC if it is missing
    #[arg(long, value_name = "ZONE", help_heading = "When it fires")]
    timezone: Option<String>,
    /// No firing before this time
    #[arg(long, value_name = "TIME", help_heading = "When it fires")]
    starts_at: Option<String>,
    /// No firing after this time
    #[arg(long, value_name = "TIME", help_heading = "When it fires")]
    ends_at: Option<String>,
    /// What becomes of firings that were missed
    #[arg(
        long,
        value_name = "fire_once|skip|fire_all",
        help_heading = "When it fires"
    )]
    misfire: Option<String>,
    /// Fire once, at this time
    #[arg(
        long,
        value_name = "TIME",
        conflicts_with = "delay",
        help_heading = "When it fires"
    )]
    run_at: Option<String>,
    /// Fire once, this long from now, such as 10m
    #[arg(long, value_name = "DURATION", help_heading = "When it fires")]
    delay: Option<String>,
    /// Fire again and again after this time, such as 30m
    #[arg(long, value_name = "DURATION", help_heading = "When it fires")]
    every: Option<String>,
    /// Fire for each event of this type, or of the types that begin so, such as order.*
    #[arg(long, value_name = "TYPE|PREFIX*", help_heading = "When it fires")]
    event_type: Option<String>,
    /// Only for events that match: JSON, @FILE, or - for standard input
    #[arg(long, value_name = "JSON|@FILE|-", help_heading = "When it fires")]
    filter: Option<String>,
    /// What a webhook's payload must keep to: a JSON Schema, @FILE, or - for standard input
    #[arg(long, value_name = "JSON|@FILE|-", help_heading = "When it fires")]
    schema: Option<String>,
    /// A webhook's URL alone is not enough: a call needs a key too
    #[arg(long, help_heading = "When it fires")]
    require_key: bool,
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Kind {
    #[value(name = "webhook")]
    Webhook,
    #[value(name = "time_scheduled", alias = "time")]
    Time,
    #[value(name = "cron_scheduled", alias = "cron")]
    Cron,
    #[value(name = "interval_scheduled", alias = "interval")]
    Interval,
    #[value(name = "event")]
    Event,
}

impl From<Kind> for TriggerType {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Webhook => TriggerType::Webhook,
            Kind::Time => TriggerType::TimeScheduled,
            Kind::Cron => TriggerType::CronScheduled,
            Kind::Interval => TriggerType::IntervalScheduled,
            Kind::Event => TriggerType::Event,
        }
    }
}

fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err("is not `Name: value`".to_owned()),
    }
}

impl ConfigFlags {
    /// Whether anything of a config is said.
    pub fn says_something(&self) -> bool {
        self.says_more_than_a_payload() || self.payload.is_some()
    }

    pub fn says_more_than_a_payload(&self) -> bool {
        let ConfigFlags {
            config,
            kind,
            endpoint,
            job,
            queue,
            method,
            headers,
            payload: _,
            secrets,
            timeout,
            max_attempts,
            cron,
            timezone,
            starts_at,
            ends_at,
            misfire,
            run_at,
            delay,
            every,
            event_type,
            filter,
            schema,
            require_key,
        } = self;
        let texts = [
            config, endpoint, job, queue, method, cron, timezone, starts_at, ends_at, misfire,
            run_at, delay, every, event_type, filter, schema,
        ];
        texts.iter().any(|text| text.is_some())
            || !headers.is_empty()
            || !secrets.is_empty()
            || kind.is_some()
            || timeout.is_some()
            || max_attempts.is_some()
            || *require_key
    }

    /// The type that is said, if it is.
    pub fn said_type(&self) -> Option<TriggerType> {
        self.kind.map(Into::into)
    }

    /// The config: what stands in `--config`, or else `stored`, with the flags' changes.
    pub fn build(&self, stored: Option<&RawValue>) -> Result<(TriggerType, Box<RawValue>), Fault> {
        let mut fields: Fields = match (&self.config, stored) {
            (Some(from), _) => object(&payload::read_as("config", &place(from))?)?,
            (None, Some(stored)) => object(stored)?,
            (None, None) => Fields::new(),
        };
        self.apply(&mut fields)?;
        let kind = self.said_type().unwrap_or_else(|| kind_of(&fields));
        Ok((kind, raw(&fields)?))
    }

    fn apply(&self, fields: &mut Fields) -> Result<(), Fault> {
        for (name, value) in [
            ("endpoint", &self.endpoint),
            ("http_method", &self.method),
            ("cron", &self.cron),
            ("timezone", &self.timezone),
            ("starts_at", &self.starts_at),
            ("ends_at", &self.ends_at),
            ("misfire", &self.misfire),
            ("run_at", &self.run_at),
            ("delay", &self.delay),
            ("every", &self.every),
            ("event_type", &self.event_type),
        ] {
            if let Some(text) = value {
                set(fields, name, text)?;
            }
        }
        for (name, value) in [
            ("payload", &self.payload),
            ("filter", &self.filter),
            ("schema", &self.schema),
        ] {
            if let Some(given) = value {
                fields.insert(name.to_owned(), payload::read_as(name, given)?);
            }
        }
        if let Some(kind) = &self.job {
            let mut job = BTreeMap::from([("type", kind)]);
            job.extend(self.queue.as_ref().map(|queue| ("queue", queue)));
            set(fields, "job", &job)?;
        }
        if !self.headers.is_empty() {
            let mut headers: BTreeMap<String, String> = part(fields, "headers")?;
            for (name, value) in &self.headers {
                headers.retain(|known, _| !known.eq_ignore_ascii_case(name));
                headers.insert(name.clone(), value.clone());
            }
            set(fields, "headers", &headers)?;
        }
        match self.secrets.as_slice() {
            [] => {}
            [one] => set(fields, "secret", &secret(one)?)?,
            several => {
                let several: Vec<_> = several
                    .iter()
                    .map(|one| secret(one))
                    .collect::<Result<_, _>>()?;
                set(fields, "secret", &several)?;
            }
        }
        if let Some(timeout) = self.timeout {
            set(fields, "timeout_seconds", &timeout.as_secs_f64())?;
        }
        if let Some(most) = self.max_attempts {
            let mut retry: Fields = part(fields, "retry")?;
            set(&mut retry, "max_attempts", &most)?;
            set(fields, "retry", &retry)?;
        }
        if self.require_key {
            set(fields, "require_key", &true)?;
        }
        Ok(())
    }
}

/// Sets a field, and takes back those that it stands for.
fn set<T: Serialize + ?Sized>(fields: &mut Fields, name: &str, value: &T) -> Result<(), Fault> {
    for (_, others) in EITHER.iter().filter(|(one, _)| *one == name) {
        fields.retain(|other, _| !others.contains(&other.as_str()));
    }
    fields.insert(name.to_owned(), raw(value)?);
    Ok(())
}

/// A field that is an object, to be added to; an empty one if it is missing.
fn part<T: DeserializeOwned + Default>(fields: &Fields, name: &str) -> Result<T, Fault> {
    match fields.get(name) {
        Some(raw) if raw.get() != "null" => serde_json::from_str(raw.get())
            .map_err(|error| Fault::Usage(format!("`{name}` in the config: {error}"))),
        _ => Ok(T::default()),
    }
}

fn object(raw: &RawValue) -> Result<Fields, Fault> {
    serde_json::from_str(raw.get())
        .map_err(|error| Fault::Usage(format!("the config is not an object: {error}")))
}

fn raw<T: Serialize + ?Sized>(value: &T) -> Result<Box<RawValue>, Fault> {
    to_raw_value(value).map_err(|error| Fault::failed(format_args!("the config: {error}")))
}

/// What the config itself says of its type.
fn kind_of(fields: &Fields) -> TriggerType {
    let has = |name| fields.contains_key(name);
    if has("cron") {
        TriggerType::CronScheduled
    } else if has("run_at") || has("delay") {
        TriggerType::TimeScheduled
    } else if has("every") {
        TriggerType::IntervalScheduled
    } else if has("event_type") {
        TriggerType::Event
    } else {
        TriggerType::Webhook
    }
}

/// `--config` names a file; JSON itself is understood too.
fn place(given: &str) -> String {
    if given == "-" || given.starts_with(['@', '{']) {
        given.to_owned()
    } else {
        format!("@{given}")
    }
}

fn secret(given: &str) -> Result<String, Fault> {
    match given.strip_prefix('@') {
        None => Ok(given.to_owned()),
        Some(path) => std::fs::read_to_string(path)
            .map(|text| text.trim().to_owned())
            .map_err(|error| {
                Fault::Usage(format!("cannot read the secret from `{path}`: {error}"))
            }),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        flags: ConfigFlags,
    }

    fn build(line: &[&str], stored: Option<&str>) -> (TriggerType, String) {
        let line = std::iter::once("x").chain(line.iter().copied());
        let flags = Line::try_parse_from(line).unwrap().flags;
        let stored = stored.map(|text| RawValue::from_string(text.to_owned()).unwrap());
        let (kind, config) = flags.build(stored.as_deref()).unwrap();
        (kind, config.get().to_owned())
    }

    #[test]
    fn flags_make_a_config_and_tell_its_type() {
        let (kind, config) = build(
            &[
                "--cron",
                "*/5 * * * *",
                "--timezone",
                "Europe/Berlin",
                "--endpoint",
                "http://a",
                "--payload",
                r#"{"n": 1.10}"#,
                "--header",
                "X-A: b: c",
                "--timeout",
                "1500ms",
                "--max-attempts",
                "3",
                "--secret",
                "one",
                "--secret",
                "two",
            ],
            None,
        );
        assert_eq!(kind, TriggerType::CronScheduled);
        assert_eq!(
            config,
            r#"{"cron":"*/5 * * * *","endpoint":"http://a","headers":{"X-A":"b: c"},"payload":{"n": 1.10},"retry":{"max_attempts":3},"secret":["one","two"],"timeout_seconds":1.5,"timezone":"Europe/Berlin"}"#
        );
        for (line, expected) in [
            (&["--delay", "1m"][..], TriggerType::TimeScheduled),
            (
                &["--run-at", "2030-01-01T00:00:00Z"],
                TriggerType::TimeScheduled,
            ),
            (&["--every", "1m"], TriggerType::IntervalScheduled),
            (&["--event-type", "a.*"], TriggerType::Event),
            (&["--endpoint", "http://a"], TriggerType::Webhook),
            (
                &["--every", "1m", "--type", "time"],
                TriggerType::TimeScheduled,
            ),
        ] {
            assert_eq!(build(line, None).0, expected, "{line:?}");
        }
    }

    #[test]
    fn flags_change_what_is_stored() {
        let stored = r#"{"run_at":"x","endpoint":"http://a","headers":{"x-a":"1","B":"2"},"secret":"…","retry":{"max_attempts":2,"base_seconds":1.50}}"#;
        let (_, config) = build(
            &["--delay", "5m", "--header", "X-A: 3", "--max-attempts", "9"],
            Some(stored),
        );
        assert_eq!(
            config,
            r#"{"delay":"5m","endpoint":"http://a","headers":{"B":"2","X-A":"3"},"retry":{"base_seconds":1.50,"max_attempts":9},"secret":"…"}"#
        );
        let (_, config) = build(&["--job", "mail", "--queue", "q"], Some(stored));
        assert_eq!(
            config,
            r#"{"job":{"queue":"q","type":"mail"},"retry":{"max_attempts":2,"base_seconds":1.50},"run_at":"x"}"#
        );
        // JSON of one's own takes the place of all of it.
        let (_, config) = build(&["--config", r#"{"endpoint":"http://b"}"#], Some(stored));
        assert_eq!(config, r#"{"endpoint":"http://b"}"#);
    }
}
