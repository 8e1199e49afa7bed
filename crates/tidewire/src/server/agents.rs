//! Agents that this process runs by itself: an operator of local processes, which asks this process's own
//! API as anybody would.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::absolute,
    sync::Arc,
    time::Duration,
};

use tidewire_client::{Client, Retry};
use tidewire_core::clock;
use tidewire_db::StoreUrl;
use tidewire_operator::{
    Operator, Settings,
    local::{Local, LocalSettings},
};

use super::House;
use crate::{
    config::{Agents, Config, SETTINGS},
    supervisor::Task,
};

const USER_AGENT: &str = concat!("tidewire-operator/", env!("CARGO_PKG_VERSION"));
/// One request; what comes after a failure is the operator's to decide.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A key that nobody knows but this process, if it asks itself for anything.
pub(super) fn own_key(config: &Config) -> Option<String> {
    let bytes: [u8; 32] = clock::random_bytes();
    let key = || bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    (!config.agents.local.is_empty()).then(key)
}

/// What instances may take of the time for stopping, before HTTP stops.
pub(super) fn share(drain: Duration) -> Duration {
    drain.mul_f64(0.5)
}

impl House {
    /// What asks this process's own API, and therefore stops first.
    pub(super) fn callers(
        &self,
        config: &Config,
        address: SocketAddr,
    ) -> Result<Vec<Task>, String> {
        let agents = &config.agents;
        if agents.local.is_empty() {
            return Ok(Vec::new());
        }
        let gateway = format!("http://{}", reached(address));
        let client =
            client(&gateway, self.own_key.as_deref()).map_err(|error| error.to_string())?;
        let local = Local::new(
            local_settings(agents, gateway, installation(config)),
            self.clock.clone(),
        );
        let share = share(config.drain);
        let settings = Settings {
            limits: agents.limits,
            grace: Settings::default().grace.min(share.mul_f64(0.3)),
            drain: agents.drain.min(share.mul_f64(0.4)),
            ..Settings::default()
        };
        let (local, clock) = (Arc::new(local), self.clock.clone());
        Ok(vec![Task::new("agents", move |stop| {
            let operator =
                Operator::new(client.clone(), Arc::clone(&local), settings, clock.clone());
            async move {
                operator.run(stop).await;
                Ok(())
            }
        })])
    }
}

/// The client of an operator.
pub(crate) fn client(server: &str, key: Option<&str>) -> Result<Client, tidewire_client::Error> {
    let builder = Client::builder(server)
        .timeout(TIMEOUT)
        .retry(Retry::none())
        .user_agent(USER_AGENT);
    match key {
        Some(key) => builder.api_key(key),
        None => builder,
    }
    .build()
}

/// The local driver's, whoever runs it.
pub(crate) fn local_settings(
    agents: &Agents,
    gateway: String,
    installation: String,
) -> LocalSettings {
    LocalSettings {
        agents: agents.local.clone(),
        gateway,
        idle_timeout: agents.idle_timeout,
        warm: agents.warm,
        drain: agents.drain,
        installation,
        private: private(),
    }
}

/// Where this machine reaches its own listener: an address that means all of them cannot be called.
fn reached(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The store names it, from wherever the server is started.
fn installation(config: &Config) -> String {
    match &config.store.url {
        StoreUrl::Sqlite(path) => absolute(path)
            .unwrap_or_else(|_| path.clone())
            .display()
            .to_string(),
        _ => config.store.shown(),
    }
}

/// The variables that set this server up: keys and passwords among them.
fn private() -> Vec<String> {
    let own = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let own = own.filter(|name| name.starts_with("TIDEWIRE_"));
    let others = SETTINGS.iter().flat_map(|setting| {
        let group = setting.group.map(|group| group.variables);
        let group = group.into_iter().flatten().map(|(name, _)| *name);
        setting.aliases.iter().copied().chain(group)
    });
    own.chain(others.map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_reached_where_it_listens() {
        for (listens, reached_at) in [
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:1", "[::1]:1"),
            ("10.0.0.7:1", "10.0.0.7:1"),
        ] {
            let address = reached(listens.parse().unwrap());
            assert_eq!(address.to_string(), reached_at);
        }
    }

    #[test]
    fn what_holds_a_password_is_private() {
        let private = private();
        let has = |name: &str| private.iter().any(|it| it == name);
        for name in ["DATABASE_URL", "POSTGRES_PASSWORD", "S3_SECRET_ACCESS_KEY"] {
            assert!(has(name), "{name}");
        }
        assert!(!has("PATH"));
    }
}
