//! Garage, a server of S3 that people run: https://garagehq.deuxfleurs.fr. One node that is a cluster of its own.

use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
};

use super::BUCKET;
use crate::{
    Error, Found, Result,
    programs::{tools, which},
    server::{Product, Site},
};

/// The version that the chores build.
pub const GARAGE_VERSION: &str = "2.5.0";

pub(super) static GARAGE: Product = Product {
    accounts: &[],
    name: "garage",
    prepare: |_| Ok(()),
    arguments,
    is_ready: |site, _, _| TcpStream::connect(("127.0.0.1", site.port)).is_ok() && set_up(site),
    stop: "TERM",
    last: "KILL",
    url: |site| {
        let (id, secret) = key(site);
        format!("http://{id}:{secret}@127.0.0.1:{}/{BUCKET}", site.port)
    },
};

/// What the chores have built, or whichever is on the path.
pub(super) fn find() -> Result<Found> {
    let built = tools().join("bin/garage");
    let program = Some(built).filter(|program| program.is_file());
    program
        .or_else(|| which("garage"))
        .and_then(|program| Found::at(program, "Garage"))
        .ok_or_else(|| {
            Error::new(format!(
                "Garage is not installed (`cargo xtask test --full` builds it; by hand: cargo install garage --locked --version {GARAGE_VERSION} --no-default-features --features bundled-libs,sqlite)"
            ))
        })
}

/// Of the shape that Garage demands of keys that come from elsewhere.
fn key(site: &Site) -> (String, String) {
    let id = format!("GK{}", &site.password[..24]);
    (id, site.password.repeat(2))
}

fn config(site: &Site) -> PathBuf {
    site.folder.join("garage.toml")
}

fn arguments(site: &Site) -> Vec<String> {
    // Here and not before: a port may turn out to be taken after all. If it cannot be written, the
    // server says so.
    let _ = fs::write(config(site), settings(site));
    let config = config(site).display().to_string();
    vec!["--config".to_owned(), config, "server".to_owned()]
}

fn settings(site: &Site) -> String {
    let (data, secret) = (site.data(), site.password.repeat(2));
    let (port, inner) = (site.port, site.inner_port);
    format!(
        "metadata_dir = \"{data}/meta\"
data_dir = \"{data}/data\"
db_engine = \"sqlite\"
replication_factor = 1
rpc_bind_addr = \"127.0.0.1:{inner}\"
rpc_public_addr = \"127.0.0.1:{inner}\"
rpc_secret = \"{secret}\"
[s3_api]
s3_region = \"us-east-1\"
api_bind_addr = \"127.0.0.1:{port}\"
"
    )
}

/// Makes a cluster, a key and a bucket, unless an earlier start has.
fn set_up(site: &Site) -> bool {
    let done = site.folder.join("set-up");
    if done.exists() {
        return true;
    }
    let Some(node) = said(site, &["node", "id", "-q"]) else {
        return false;
    };
    let node = node.split('@').next().unwrap_or_default().trim();
    let (id, secret) = key(site);
    let steps: [&[&str]; 5] = [
        &["layout", "assign", "-z", "here", "-c", "8G", node],
        &["layout", "apply", "--version", "1"],
        &["key", "import", "--yes", "-n", "tests", &id, &secret],
        &["bucket", "create", BUCKET],
        &[
            "bucket", "allow", "--read", "--write", "--owner", BUCKET, "--key", &id,
        ],
    ];
    // What is repeated after half of it failed is refused, which is as good.
    for step in steps {
        let _ = said(site, step);
    }
    let is_there = said(site, &["bucket", "info", BUCKET]).is_some_and(|info| info.contains(&id));
    is_there && fs::write(done, "").is_ok()
}

fn said(site: &Site, arguments: &[&str]) -> Option<String> {
    let program: &Path = &site.found.program;
    let mut command = Command::new(program);
    command.arg("--config").arg(config(site)).args(arguments);
    let output = command.env("RUST_LOG", "error").output().ok()?;
    let is_done = output.status.success();
    is_done.then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
