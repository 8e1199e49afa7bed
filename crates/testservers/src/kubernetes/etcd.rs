//! etcd, in which a Kubernetes keeps everything.

use std::{fs, net::TcpStream};

use crate::{
    Context as _, Error, Found, Result,
    programs::which,
    server::{Product, Site, says},
};

pub static ETCD: Product = Product {
    accounts: &[],
    name: "etcd",
    prepare: |site| {
        let data = site.data();
        fs::create_dir_all(&data).context(|| format!("cannot make {data}"))
    },
    arguments,
    is_ready: |site, _, log| {
        says(log, "ready to serve client requests")
            && TcpStream::connect(("127.0.0.1", site.port)).is_ok()
    },
    stop: "TERM",
    last: "KILL",
    url: |site| format!("http://127.0.0.1:{}", site.port),
};

/// Debian's, or whichever is on the path.
pub fn find() -> Result<Found> {
    which("etcd")
        .and_then(|program| Found::at(program, "etcd"))
        .ok_or_else(|| Error::new("etcd is not installed (Debian: apt-get install etcd-server)"))
}

fn arguments(site: &Site) -> Vec<String> {
    let clients = format!("http://127.0.0.1:{}", site.port);
    let peers = format!("http://127.0.0.1:{}", site.inner_port);
    [
        ("name", "tests"),
        ("data-dir", &site.data()),
        ("listen-client-urls", &clients),
        ("advertise-client-urls", &clients),
        ("listen-peer-urls", &peers),
        ("initial-advertise-peer-urls", &peers),
        ("initial-cluster", &format!("tests={peers}")),
    ]
    .iter()
    .map(|(name, value)| format!("--{name}={value}"))
    .collect()
}
