//! PostgreSQL as a private server.

use std::fs;

use crate::{
    Context as _, Result,
    guard::prepare,
    server::{Product, Site, USER},
};

pub static POSTGRES: Product = Product {
    accounts: &["postgres", "nobody"],
    name: "postgres",
    prepare: init,
    arguments,
    // It writes how far it is into its lock file; a killed one left its own process id there.
    is_ready: |site, server, _| {
        let lock = fs::read_to_string(site.folder.join("data/postmaster.pid")).unwrap_or_default();
        let mut lines = lock.lines();
        lines.next() == Some(server) && lines.nth(6).is_some_and(|state| state.trim() == "ready")
    },
    stop: "INT",
    last: "QUIT",
    url: |site| {
        format!(
            "postgres://{USER}:{}@127.0.0.1:{}/postgres",
            site.password, site.port
        )
    },
};

fn init(site: &Site) -> Result<()> {
    let password = site.folder.join("password");
    fs::write(&password, &site.password)
        .context(|| format!("cannot write {}", password.display()))?;
    site.account.give(&password)?;
    let arguments = [
        format!("--pgdata={}", site.data()),
        format!("--username={USER}"),
        format!("--pwfile={}", password.display()),
        // Cheap to check, where the test opens many connections from unoptimised code.
        "--auth=md5".to_owned(),
        "--encoding=UTF8".to_owned(),
        // A dictionary's order, as many servers have it: what is in the order of bytes has to say so.
        "--locale=C".to_owned(),
        "--locale-provider=icu".to_owned(),
        "--icu-locale=en-US".to_owned(),
        "--no-sync".to_owned(),
        "--no-instructions".to_owned(),
    ];
    prepare(
        &site.found.beside("initdb"),
        arguments,
        &site.folder,
        site.account,
    )
}

fn arguments(site: &Site) -> Vec<String> {
    let mut settings = vec![
        format!("port={}", site.port),
        "listen_addresses=127.0.0.1".to_owned(),
        "unix_socket_directories=".to_owned(),
        "max_connections=300".to_owned(),
        "shared_buffers=64MB".to_owned(),
        "timezone=Asia/Kathmandu".to_owned(),
        "logging_collector=off".to_owned(),
    ];
    if !site.durable {
        settings.extend(["fsync=off", "full_page_writes=off"].map(str::to_owned));
    }
    settings.extend_from_slice(&site.settings);
    let mut arguments = vec!["-D".to_owned(), site.data()];
    for setting in settings {
        arguments.extend(["-c".to_owned(), setting]);
    }
    arguments
}
