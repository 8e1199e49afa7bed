//! `cargo xtask services`: what the tests run against, where each of it comes from, and servers to work with by hand.

use std::fs;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result};
use tidewire_testservers::{
    Engine, Found, Kafka, PgBouncer, Redis, S3, Server, ServerOptions, find, find_kafka,
    find_kubernetes, find_pgbouncer, find_redis, find_s3,
};

use crate::process::{cargo, output};
use crate::tools;

/// List them.
pub fn list() -> Result<()> {
    let version = sqlite_version()?;
    row("engine", "version", "from");
    row(
        "SQLite",
        &version,
        "in the binary (crate libsqlite3-sys); a file in a temporary folder for each test",
    );
    for engine in Engine::SERVERS {
        if let (Some(variable), Some(_)) = (engine.variable(), engine.named_url()) {
            row(
                engine.name(),
                "?",
                &format!("the server that {variable} names"),
            );
            continue;
        }
        server_row(
            engine.name(),
            find(engine),
            "a private server on a free port",
        );
    }
    server_row(
        "PgBouncer",
        find_pgbouncer(),
        "in transaction mode, before a private PostgreSQL",
    );
    match Redis::named() {
        Some(_) => row(
            "Redis",
            "?",
            &format!("the server that {} names", Redis::VARIABLE),
        ),
        None => server_row(
            "Redis",
            find_redis(),
            "a private server with an append-only file",
        ),
    }
    match Kafka::named() {
        Some(_) => row(
            "Kafka",
            "?",
            &format!("the broker that {} names", Kafka::VARIABLE),
        ),
        None => server_row(
            "Kafka",
            find_kafka(),
            "a private broker in KRaft mode, from Maven's archives",
        ),
    }
    match S3::named() {
        Some(_) => row(
            "S3",
            "?",
            &format!("the server that {} names", S3::VARIABLE),
        ),
        None => server_row("S3", find_s3(), "a private server over a folder, by cargo"),
    }
    match find_kubernetes() {
        Ok((etcd, api, kwok)) => row(
            api.product,
            &api.version,
            &format!(
                "kube-apiserver on etcd {} with nodes by KWOK {}, for --full",
                etcd.version, kwok.version
            ),
        ),
        Err(why) => row("Kubernetes", "-", &why.to_string()),
    }
    println!(
        "\n`cargo xtask test` installs what is missing (Debian, as root) and starts what it needs"
    );
    println!("`cargo xtask services --run` keeps servers running until Ctrl-C");
    Ok(())
}

fn row(engine: &str, version: &str, from: &str) {
    println!("{engine:10}  {version:10}  {from}");
}

fn server_row(name: &str, found: tidewire_testservers::Result<Found>, how: &str) {
    match found {
        Ok(found) => {
            let note = note(&found).unwrap_or_default();
            let from = format!("{}; {how}{note}", found.program.display());
            row(found.product, &found.version, &from);
        }
        Err(why) => row(name, "-", &why.to_string()),
    }
}

/// MySQL itself is in no Debian; that another product answers in its place must not be hidden.
fn note(found: &Found) -> Option<&'static str> {
    (found.product == "MariaDB").then_some("; stands for MySQL too, which is not tested itself")
}

/// Servers for one run of the tests; they end when this is dropped.
pub struct Running {
    servers: Vec<(Engine, Server)>,
    /// None where the environment names one.
    kafka: Option<Kafka>,
    /// The same.
    redis: Option<Redis>,
    /// The same.
    s3: Option<S3>,
}

impl Running {
    /// Start one of each, but for those that the environment names.
    pub fn start() -> Result<Running> {
        let mut servers = Vec::new();
        for engine in Engine::SERVERS {
            if engine.named_url().is_none() {
                let server = Server::start(engine, ServerOptions::default())
                    .with_context(|| format!("no {engine}"))?;
                servers.push((engine, server));
            }
        }
        let kafka = match Kafka::named() {
            Some(_) => None,
            None => Some(Kafka::start().context("no Kafka")?),
        };
        let redis = match Redis::named() {
            Some(_) => None,
            None => Some(Redis::start(ServerOptions::default()).context("no Redis")?),
        };
        let s3 = match S3::named() {
            Some(_) => None,
            None => Some(S3::start().context("no S3")?),
        };
        Ok(Running {
            servers,
            kafka,
            redis,
            s3,
        })
    }

    /// What tells a test program where they are.
    pub fn variables(&self) -> impl Iterator<Item = (&'static str, String)> {
        let kafka = self.kafka.iter();
        let redis = self.redis.iter();
        let s3 = self.s3.iter();
        self.servers
            .iter()
            .filter_map(|(engine, server)| Some((engine.variable()?, server.url())))
            .chain(kafka.map(|kafka| (Kafka::VARIABLE, kafka.address())))
            .chain(redis.map(|redis| (Redis::VARIABLE, redis.url())))
            .chain(s3.map(|s3| (S3::VARIABLE, s3.url())))
    }

    /// What runs, by product and version.
    pub fn summary(&self) -> String {
        let names = |(engine, server): &(Engine, Server)| {
            let found = server.found();
            let stands_for = match note(found) {
                Some(_) => format!(" for {engine}"),
                None => String::new(),
            };
            format!("{} {}{stands_for}", found.product, found.version)
        };
        let mut all: Vec<String> = self.servers.iter().map(names).collect();
        let named = Engine::SERVERS
            .into_iter()
            .filter(|engine| engine.named_url().is_some());
        all.extend(named.map(|engine| format!("{engine} as the environment names it")));
        all.push(match &self.kafka {
            Some(kafka) => format!("Kafka {}", kafka.found().version),
            None => "Kafka as the environment names it".to_owned(),
        });
        all.push(match &self.redis {
            Some(redis) => format!("Redis {}", redis.found().version),
            None => "Redis as the environment names it".to_owned(),
        });
        all.push(match &self.s3 {
            Some(s3) => format!("{} {}", s3.found().product, s3.found().version),
            None => "S3 as the environment names it".to_owned(),
        });
        all.join(", ")
    }

    fn postgres_url(&self) -> Option<String> {
        let ours = |(engine, server): &(Engine, Server)| {
            (*engine == Engine::Postgres).then(|| server.url())
        };
        Engine::Postgres
            .named_url()
            .or_else(|| self.servers.iter().find_map(ours))
    }
}

/// Keep them running until we are told to end. What watches over them ends them then.
pub fn run() -> Result<()> {
    tools::servers()?;
    tools::kafka()?;
    tools::s3()?;
    let running = Running::start()?;
    let direct = running.postgres_url().context("no PostgreSQL")?;
    let pooler = PgBouncer::start(&direct)?;
    println!("\n{}\n", running.summary());
    for (name, url) in running.variables() {
        println!("export {name}={url}");
    }
    println!(
        "\n# {} {} in transaction mode\n# {}",
        pooler.found().product,
        pooler.found().version,
        pooler.url(&direct)
    );
    println!("\nCtrl-C ends them, and removes their data");
    loop {
        thread::park();
    }
}

/// The version in the C source that the workspace's lock file brings in.
fn sqlite_version() -> Result<String> {
    let metadata = output(cargo().args(["metadata", "--format-version", "1", "--locked"]))
        .context("cargo metadata failed: run it to see why")?;
    let manifest = manifest_of(&metadata, "libsqlite3-sys").context(
        "libsqlite3-sys is not among the dependencies any more: this list is out of date",
    )?;
    let header = Path::new(manifest).with_file_name("sqlite3/sqlite3.h");
    let text =
        fs::read_to_string(&header).with_context(|| format!("cannot read {}", header.display()))?;
    text.lines()
        .find_map(|line| line.strip_prefix("#define SQLITE_VERSION "))
        .map(|version| version.trim().trim_matches('"').to_owned())
        .with_context(|| format!("no SQLITE_VERSION in {}", header.display()))
}

/// Found by its text: one path out of a known document is no reason for a JSON parser here.
fn manifest_of<'a>(metadata: &'a str, package: &str) -> Option<&'a str> {
    let folder = format!("/{package}-");
    metadata
        .split("\"manifest_path\":\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .find(|path| path.contains(&folder))
}
