//! Redis over TLS.

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt as _, path::Path};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use redis::cmd;
use tempfile::TempDir;
use tidewire_redis::RedisSettings;
use tidewire_testkit::servers::{Redis, ServerOptions};
use tidewire_threads::Error;

use crate::house::{House, delta, small};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A Redis that has a port for TLS as well, with a certificate of the authority `ca.pem`.
struct Secure {
    folder: TempDir,
    port: u16,
    redis: Redis,
}

impl Secure {
    async fn start() -> Option<Self> {
        let redis = Redis::start(ServerOptions { durable: false }).await?;
        let folder = TempDir::new().unwrap();
        // Redis may run as somebody else, who is to read them.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let (ours, other) = (authority("the servers'"), authority("somebody else's"));
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &ours).unwrap();
        for (name, pem) in [
            ("ca.pem", ours.pem()),
            ("other.pem", other.pem()),
            ("redis.pem", certificate.pem()),
            ("redis.key", key.serialize_pem()),
        ] {
            let path = folder.path().join(name);
            fs::write(&path, pem).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        }
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let file = |name: &str| folder.path().join(name).display().to_string();
        let client = redis::Client::open(redis.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        cmd("CONFIG")
            .arg("SET")
            .arg(&["tls-cert-file", &file("redis.pem")])
            .arg(&["tls-key-file", &file("redis.key")])
            .arg(&["tls-ca-cert-file", &file("ca.pem")])
            .arg(&["tls-auth-clients", "no", "tls-port", &port.to_string()])
            .exec_async(&mut connection)
            .await
            .unwrap();
        Some(Secure {
            folder,
            port,
            redis,
        })
    }

    /// The port for TLS, spoken to by the scheme, with the parameters.
    fn settings(&self, scheme: &str, parameters: &str) -> RedisSettings {
        let (account, _) = self.redis.url()["redis://".len()..]
            .split_once('@')
            .unwrap();
        let url = format!("{scheme}://{account}@127.0.0.1:{}{parameters}", self.port);
        let RedisSettings {
            url, authorities, ..
        } = RedisSettings::parse(&url).unwrap();
        RedisSettings {
            authorities,
            ..small(&url)
        }
    }

    fn trusting(&self, file: &str) -> RedisSettings {
        let file: &Path = &self.folder.path().join(file);
        self.settings("rediss", &format!("?ca={}", file.display()))
    }
}

#[tokio::test]
async fn threads_are_written_and_moved_over_tls() {
    let Some(secure) = Secure::start().await else {
        return;
    };
    let house = House::with(secure.trusting("ca.pem")).await;
    let _persister = house.persister();
    house.asks("x", "t1").await;
    house.says("x", vec![delta("t1", "d1")]).await.unwrap();
    house.catches_up("x").await;
    assert_eq!(house.kinds("x").await.len(), 2);
}

#[tokio::test]
async fn a_redis_that_cannot_be_trusted_gets_nothing() {
    let Some(secure) = Secure::start().await else {
        return;
    };
    for (settings, why) in [
        (secure.trusting("other.pem"), "UnknownIssuer"),
        // The system's authorities know nothing of it.
        (secure.settings("rediss", ""), "UnknownIssuer"),
        (secure.settings("redis", ""), ""),
    ] {
        let house = House::with(settings).await;
        let refused = house.says("x", vec![delta("t1", "d1")]).await.unwrap_err();
        let Error::HotLog(said) = &refused else {
            panic!("{refused:?}");
        };
        assert!(said.contains(why), "{said}");
    }
}
