//! Redis as a private server, with an append-only file: what was taken is there again after a kill.

use std::{net::TcpStream, path::Path};

use crate::{
    Context as _, Error, Found, Result,
    programs::which,
    server::{Product, Site, says},
};

pub static REDIS: Product = Product {
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
