//! Redis as a private server, with an append-only file: what was taken is there again after a kill.

use std::{net::TcpStream, path::Path};

use crate::{
    Context as _, Error, Found, Result, Running, ServerOptions,
    programs::which,
    server::{Product, Site, is_running, says},
};

/// A Redis of one's own, which keeps an append-only file. It ends, and its data go, when this is dropped
/// or this process ends.
pub struct Redis {
    running: Running,
}

is_running!(Redis);

impl Redis {
    /// The environment variable that points at one which runs already.
    pub const VARIABLE: &str = "TIDEWIRE_TEST_REDIS_URL";

    /// The URL that the environment names, if it names one.
    #[must_use]
    pub fn named() -> Option<String> {
        let url = std::env::var(Redis::VARIABLE).ok()?;
        (!url.is_empty()).then_some(url)
    }

    /// Makes an empty one on a free port of the loopback, and waits until it serves. A durable one
    /// syncs each write (`appendfsync always`), others each second.
    pub fn start(options: ServerOptions) -> Result<Redis> {
        let found = find()?;
        let running = Running::start(&REDIS, found, options, &std::env::temp_dir(), &[])?;
        Ok(Redis { running })
    }

    /// Starts one that was stopped or killed, on its old port and without its file: it has forgotten
    /// everything.
    pub fn start_empty(&mut self) -> Result<()> {
        self.running.start_empty()
    }
}

static REDIS: Product = Product {
    accounts: &["redis", "nobody"],
    name: "redis",
    prepare,
    arguments,
    // What an earlier start said is in another log.
    is_ready: |site, _, log| ready(site, log),
    stop: "TERM",
    last: "KILL",
    url: |site| format!("redis://:{}@127.0.0.1:{}", site.password, site.port),
};

/// Debian's, or whichever is on the path.
pub fn find() -> Result<Found> {
    which("redis-server")
        .and_then(|program| Found::at(program, "Redis"))
        .ok_or_else(|| Error::new("Redis is not installed (Debian: apt-get install redis-server)"))
}

fn prepare(site: &Site) -> Result<()> {
    let data = std::path::PathBuf::from(site.data());
    std::fs::create_dir_all(&data).context(|| format!("cannot make {}", data.display()))?;
    site.account.give(&data)
}

fn arguments(site: &Site) -> Vec<String> {
    let fsync = if site.durable { "always" } else { "everysec" };
    let mut arguments: Vec<String> = [
        "--bind",
        "127.0.0.1",
        "--port",
        &site.port.to_string(),
        "--requirepass",
        &site.password,
        "--dir",
        &site.data(),
        "--appendonly",
        "yes",
        "--appendfsync",
        fsync,
        // No snapshots: the file is what it comes back with.
        "--save",
        "",
    ]
    .map(str::to_owned)
    .into();
    for setting in &site.settings {
        let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
        arguments.extend([format!("--{name}"), value.to_owned()]);
    }
    arguments
}

fn ready(site: &Site, log: &Path) -> bool {
    says(log, "Ready to accept connections") && TcpStream::connect(("127.0.0.1", site.port)).is_ok()
}
