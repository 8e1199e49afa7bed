//! What the settings mean.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
    time::Duration,
};

use tidewire_access::AccessConfig;
use tidewire_core::{backoff::Backoff, duration, name};
use tidewire_fleet::FleetSettings;
use tidewire_http::Origin;
use tidewire_threads::ThreadSettings;

use super::{Agents, Archives, Bad, HotLog, JobBus, Sites, Store, Triggers, Values};

/// Everything `tidewire serve` needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    pub addr: SocketAddr,
    pub store: Store,
    pub roles: Roles,
    pub access: AccessConfig,
    pub cors_origins: Vec<Origin>,
    pub max_connections: u32,
    pub poll_interval: Duration,
    pub jobs: Jobs,
    pub worker: Worker,
    pub triggers: Triggers,
    pub threads: ThreadSettings,
    pub agents: Agents,
    pub fleet: FleetSettings,
    pub job_bus: JobBus,
    pub hot_log: HotLog,
    pub archives: Archives,
    pub sites: Sites,
    pub session_lifetime: Duration,
    pub drain: Duration,
    pub log: Log,
}

#[derive(Clone, Debug)]
pub struct Jobs {
    pub lease: Duration,
    pub timeout: Duration,
    pub backoff: Backoff,
    pub queue_limits: BTreeMap<String, u32>,
    pub keep_done: Duration,
    pub keep_failed: Duration,
    pub keep_cancelled: Duration,
}

#[derive(Clone, Debug)]
pub struct Worker {
    pub name: Option<String>,
    pub concurrency: usize,
    pub queues: Option<Vec<String>>,
}

#[derive(Clone, Debug)]
pub struct Log {
    pub filter: String,
    pub format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Pretty,
    Json,
}

/// What a process does, beside serving health, metrics and docs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Api,
    Worker,
    Scheduler,
    Relay,
    Realtime,
    Persister,
    Archiver,
    Sweeper,
    Controller,
}

impl Role {
    pub const ALL: [Role; 9] = [
        Role::Api,
        Role::Worker,
        Role::Scheduler,
        Role::Relay,
        Role::Realtime,
        Role::Persister,
        Role::Archiver,
        Role::Sweeper,
        Role::Controller,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Role::Api => "api",
            Role::Worker => "worker",
            Role::Scheduler => "scheduler",
            Role::Relay => "relay",
            Role::Realtime => "realtime",
            Role::Persister => "persister",
            Role::Archiver => "archiver",
            Role::Sweeper => "sweeper",
            Role::Controller => "controller",
        }
    }
}

/// A set of roles; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roles(Vec<Role>);

impl Roles {
    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        self.0.contains(&role)
    }

    pub fn iter(&self) -> impl Iterator<Item = Role> + '_ {
        self.0.iter().copied()
    }

    /// Whether there are routes for callers who are known by a key.
    #[must_use]
    pub fn serve_callers(&self) -> bool {
        [Role::Api, Role::Realtime, Role::Controller]
            .into_iter()
            .any(|role| self.has(role))
    }
}

impl FromStr for Roles {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut roles = Vec::new();
        for word in text
            .split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty())
        {
            match Role::ALL.into_iter().find(|role| role.name() == word) {
                Some(role) => roles.push(role),
                None if word == "all" => roles.extend(Role::ALL),
                None => {
                    return Err(format!(
                        "`{word}` is no role: all, or some of {}",
                        Roles(Role::ALL.into())
                    ));
                }
            }
        }
        if roles.is_empty() {
            return Err(format!(
                "names no role: all, or some of {}",
                Roles(Role::ALL.into())
            ));
        }
        roles.sort_unstable();
        roles.dedup();
        Ok(Roles(roles))
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(|role| role.name()).collect();
        f.write_str(&names.join(","))
    }
}

impl Config {
    /// Checks all settings. The first that makes no sense is the error.
    pub fn new(values: &Values) -> Result<Self, Bad> {
        let text = |name| values.read(name, |text| Ok::<_, String>(text.to_owned()));
        let mut access = AccessConfig {
            admin_key: text("admin-key")?,
            own_key: None,
            agent_api_keys: values
                .read("agent-api-key", |text| each(text, str::parse))?
                .unwrap_or_default(),
            open: false,
        };
        access.check().map_err(Bad)?;
        let has_key = access.admin_key.is_some();
        let addr = need(values.read("addr", |text| address(text, has_key))?, "addr")?;
        access.open = !has_key;
        if access.open && !addr.ip().is_loopback() {
            return Err(Bad(format!(
                "--addr `{}`: without a key Tidewire listens on loopback only: set --admin-key (TIDEWIRE_ADMIN_KEY), or listen on 127.0.0.1",
                values.text("addr").unwrap_or_default()
            )));
        }
        let span = |name: &'static str, least: Duration, most: Duration| {
            need(values.read(name, |text| within(text, least, most))?, name)
        };
        const MS: Duration = Duration::from_millis(1);
        const S: Duration = Duration::from_secs(1);
        const DAY: Duration = Duration::from_secs(86_400);
        let connections = values.read("database-connections", |text| number(text, 2, 1000))?;
        let poll_interval = span("poll-interval", 10 * MS, 60 * S)?;
        let job_bus = need(values.read("job-bus", str::parse)?, "job-bus")?;
        let keep = |name| span(name, Duration::ZERO, 36_500 * DAY);
        let store = Store::new(values, need(connections, "database-connections")?)?;
        let roles = need(values.read("roles", str::parse)?, "roles")?;
        let worker_name = |text: &str| name::check(text, name::ID_MAX).map(|()| text.to_owned());
        Ok(Config {
            addr,
            archives: Archives::new(values, &store)?,
            store,
            agents: Agents::new(values, &roles)?,
            roles,
            access,
            cors_origins: values
                .read("cors-origins", |text| each(text, str::parse))?
                .unwrap_or_default(),
            max_connections: need(
                values.read("max-connections", |text| number(text, 1, 1_000_000))?,
                "max-connections",
            )?,
            poll_interval,
            triggers: Triggers::new(values, addr, poll_interval, &job_bus)?,
            job_bus,
            hot_log: need(values.read("hot-log", str::parse)?, "hot-log")?,
            sites: Sites::new(values)?,
            threads: ThreadSettings {
                idle_timeout: span("thread-idle-timeout", S, 36_500 * DAY)?,
                affinity: span("agent-affinity", Duration::ZERO, 3600 * S)?,
                poll_interval,
            },
            fleet: FleetSettings {
                agents_ask_every: span("fleet-poll-interval", S, 3600 * S)?,
                poll_interval,
            },
            jobs: Jobs {
                lease: span("lease", S, 3600 * S)?,
                timeout: span("job-timeout", S, DAY)?,
                backoff: Backoff {
                    base: span("job-retry-base", MS, DAY)?,
                    cap: span("job-retry-cap", MS, 30 * DAY)?,
                },
                queue_limits: values
                    .read("queue-limits", |text| each(text, queue_limit))?
                    .unwrap_or_default()
                    .into_iter()
                    .collect(),
                keep_done: keep("keep-done")?,
                keep_failed: keep("keep-failed")?,
                keep_cancelled: keep("keep-cancelled")?,
            },
            worker: Worker {
                name: values.read("worker-name", worker_name)?,
                concurrency: need(
                    values.read("worker-concurrency", |text| number(text, 1, 10_000))?,
                    "worker-concurrency",
                )? as usize,
                queues: values.read("worker-queues", |text| each(text, worker_name))?,
            },
            session_lifetime: span("session-lifetime", 60 * S, 30 * DAY)?,
            drain: span("drain", Duration::ZERO, 3600 * S)?,
            log: Log::new(values)?,
        })
    }
}

impl Log {
    /// Whether this can be a filter of log lines; if not, what would do.
    pub fn check_filter(text: &str) -> Result<(), String> {
        log_filter(text).map(drop)
    }

    /// What concerns log lines alone, for processes that are no servers.
    pub fn new(values: &Values) -> Result<Self, Bad> {
        Ok(Log {
            filter: need(values.read("log-level", log_filter)?, "log-level")?,
            format: need(values.read("log-format", log_format)?, "log-format")?,
        })
    }
}

/// A setting whose default is in the list.
pub(super) fn need<T>(value: Option<T>, name: &str) -> Result<T, Bad> {
    value.ok_or_else(|| Bad(format!("--{name} is not set and has no default")))
}

/// `HOST:PORT`; a port alone is for everybody only where a key is needed.
pub(crate) fn address(text: &str, has_key: bool) -> Result<SocketAddr, String> {
    let wrong = || "is not HOST:PORT such as 127.0.0.1:8080, [::1]:8080 or :8080".to_owned();
    // `PORT=8080`, as many hosts set it.
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port),
        None => ("", text),
    };
    let port: u16 = port.parse().map_err(|_| wrong())?;
    let ip = match host {
        "" if has_key => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        "" | "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        _ => match host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
        {
            Some(v6) => IpAddr::V6(v6.parse::<Ipv6Addr>().map_err(|_| wrong())?),
            None => IpAddr::V4(host.parse::<Ipv4Addr>().map_err(|_| wrong())?),
        },
    };
    Ok(SocketAddr::new(ip, port))
}

pub(super) fn within(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    let read = duration::parse(text)?;
    if (least..=most).contains(&read) {
        return Ok(read);
    }
    Err(format!(
        "must be {} to {}",
        duration::format(least),
        duration::format(most)
    ))
}

pub(super) fn number(text: &str, least: u32, most: u32) -> Result<u32, String> {
    match text.parse() {
        Ok(n) if (least..=most).contains(&n) => Ok(n),
        _ => Err(format!("must be a number from {least} to {most}")),
    }
}

pub(super) fn yes(text: &str) -> Result<bool, String> {
    match text {
        "true" | "1" | "yes" => Ok(true),
        "false" | "0" | "no" => Ok(false),
        _ => Err("is neither true nor false".to_owned()),
    }
}

pub(super) fn each<T, E: fmt::Display>(
    text: &str,
    read: impl Fn(&str) -> Result<T, E>,
) -> Result<Vec<T>, String> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| read(part).map_err(|why| format!("`{part}` {why}")))
        .collect()
}

fn queue_limit(text: &str) -> Result<(String, u32), String> {
    let (queue, limit) = text.split_once('=').ok_or("is not QUEUE=N")?;
    name::check(queue, name::ID_MAX)?;
    Ok((queue.to_owned(), number(limit, 1, 1_000_000)?))
}

fn log_filter(text: &str) -> Result<String, String> {
    match tracing_subscriber::EnvFilter::try_new(text) {
        Ok(_) if !text.trim().is_empty() => Ok(text.to_owned()),
        _ => Err(
            "is not error, warn, info, debug, trace or a filter such as info,tidewire::access=warn"
                .to_owned(),
        ),
    }
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "pretty" => Ok(LogFormat::Pretty),
        "json" => Ok(LogFormat::Json),
        _ => Err("is neither pretty nor json".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(flags: &[(&'static str, &str)]) -> Result<Config, String> {
        let flags = flags
            .iter()
            .map(|(name, text)| (*name, (*text).to_owned()))
            .collect();
        let values = Values::gather(&flags, |_| None, None).map_err(|bad| bad.to_string())?;
        Config::new(&values).map_err(|bad| bad.to_string())
    }

    #[test]
    fn the_defaults_make_a_server() {
        let config = config(&[]).unwrap();
        assert_eq!(config.addr.to_string(), "127.0.0.1:8080");
        assert!(config.access.open);
        assert_eq!(config.store.shown(), "./tidewire-data/tidewire.db");
        assert_eq!(
            config.roles.to_string(),
            "api,worker,scheduler,relay,realtime,persister,archiver,sweeper,controller"
        );
    }

    #[test]
    fn a_port_alone_is_loopback_until_there_is_a_key() {
        assert_eq!(
            config(&[("addr", ":9")]).unwrap().addr.to_string(),
            "127.0.0.1:9"
        );
        assert_eq!(
            config(&[("addr", "9")]).unwrap().addr.to_string(),
            "127.0.0.1:9"
        );
        let keyed = config(&[("addr", ":9"), ("admin-key", "k")]).unwrap();
        assert_eq!(
            (keyed.addr.to_string().as_str(), keyed.access.open),
            ("0.0.0.0:9", false)
        );
        let refused = config(&[("addr", "0.0.0.0:9")]).unwrap_err();
        assert!(
            refused.contains("--admin-key") && refused.contains("0.0.0.0:9"),
            "{refused}"
        );
    }

    #[test]
    fn what_makes_no_sense_is_named_with_its_value() {
        for (name, text) in [
            ("addr", "somewhere"),
            ("addr", "host.example:80"),
            ("roles", "api,wroker"),
            ("roles", ","),
            ("lease", "60"),
            ("lease", "2h"),
            ("poll-interval", "0s"),
            ("worker-concurrency", "0"),
            ("queue-limits", "mail"),
            ("queue-limits", "mail=0"),
            ("cors-origins", "example.org"),
            ("log-level", "loud=="),
            ("log-format", "xml"),
            ("keep-done", "forever"),
            ("max-connections", "-1"),
            ("worker-name", "two words"),
            ("database-connections", "1"),
            ("database-url", "oracle://host/db"),
            ("database-url", "tidewire.db"),
        ] {
            let bad = config(&[(name, text)]).unwrap_err();
            assert!(
                bad.contains(&format!("--{name}")) && bad.contains(text) && !bad.contains('\n'),
                "{bad}"
            );
        }
        let key = config(&[("admin-key", "not ascii ü")]).unwrap_err();
        assert!(!key.contains('ü'), "{key}");
    }
    #[test]
    fn a_store_has_one_name_and_the_nearer_one_holds() {
        let store = |flags: &[(&'static str, &str)], variables: &[(&str, &str)]| {
            let flags = flags
                .iter()
                .map(|(name, text)| (*name, (*text).to_owned()))
                .collect();
            let variable = |asked: &str| {
                let found = variables.iter().find(|(name, _)| *name == asked);
                found.map(|(_, text)| (*text).to_owned())
            };
            let values = Values::gather(&flags, variable, None).map_err(|bad| bad.to_string())?;
            let config = Config::new(&values).map_err(|bad| bad.to_string())?;
            Ok::<_, String>(config.store.shown())
        };
        let [file, url] = [("db", "a.db"), ("database-url", "sqlite://b.db")];
        assert!(store(&[file, url], &[]).unwrap_err().contains("two stores"));
        let [ours, theirs] = [
            ("TIDEWIRE_DATABASE_URL", "postgres://me:hunter2@db/ours"),
            ("DATABASE_URL", "me:hunter2@tcp(db)/theirs?parseTime=true"),
        ];
        assert_eq!(store(&[file], &[ours, theirs]).unwrap(), "a.db");
        assert_eq!(
            store(&[], &[ours, theirs]).unwrap(),
            "postgres://me:***@db/ours"
        );
        assert_eq!(
            store(&[], &[theirs]).unwrap(),
            "mysql://me:***@db:3306/theirs"
        );
        assert_eq!(
            store(&[], &[("TIDEWIRE_DB", "a.db"), theirs]).unwrap(),
            "a.db"
        );
        assert!(store(&[], &[("TIDEWIRE_DB", "a.db"), ours]).is_err());
    }

    #[test]
    fn who_listens_beside_a_pooler_names_the_server_itself() {
        let [pooled, direct] = ["postgres://db/d?pgbouncer=true", "postgres://db:5433/d"];
        let listening = |url, listen| {
            let flags = [("database-url", url), ("database-listen-url", listen)];
            config(&flags).map(|config| config.store.listen_url.is_some())
        };
        assert_eq!(listening(pooled, direct), Ok(true));
        assert!(
            listening(pooled, pooled)
                .unwrap_err()
                .contains("--database-listen-url")
        );
        assert!(listening("mysql://db/d", direct).is_err());
        assert!(
            listening("sqlite://a.db", "me:hunter2@/d")
                .unwrap_err()
                .contains("***")
        );
    }
}
