//! Apache Kafka as a private server, in KRaft mode: one process is broker and controller.
//!
//! It is Java archives in a folder, which `cargo xtask test` fetches, and a Java that is installed.

use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
};

use crate::{
    Context as _, Error, Found, Result, Running, ServerOptions,
    guard::prepare,
    programs::{tools, which},
    server::{Product, Site, is_running, says},
};

/// The version that the chores fetch.
pub const KAFKA_VERSION: &str = "4.3.1";

/// The variable that names a folder of archives instead of ours.
const LIBRARIES: &str = "TIDEWIRE_TEST_KAFKA_LIBS";

/// An Apache Kafka of one's own: broker and controller in one. It ends, and its data go, when this is
/// dropped or this process ends.
pub struct Kafka {
    running: Running,
}

is_running!(Kafka);

impl Kafka {
    /// The environment variable that points at one which runs already, by `HOST:PORT`.
    pub const VARIABLE: &str = "TIDEWIRE_TEST_KAFKA";

    /// The broker that the environment names, if it names one.
    #[must_use]
    pub fn named() -> Option<String> {
        let address = std::env::var(Kafka::VARIABLE).ok()?;
        (!address.is_empty()).then_some(address)
    }

    /// Makes an empty one on a free port of the loopback, and waits until it serves.
    pub fn start() -> Result<Kafka> {
        let found = find()?;
        let options = ServerOptions::default();
        let running = Running::start(&KAFKA, found, options, &std::env::temp_dir(), &[])?;
        Ok(Kafka { running })
    }

    /// `HOST:PORT`, as clients want it.
    #[must_use]
    pub fn address(&self) -> String {
        self.url()
    }
}

static KAFKA: Product = Product {
    // It runs as root too, and the archives may lie where only we can read.
    accounts: &[],
    name: "kafka",
    prepare: format,
    arguments,
    // What an earlier start said is in another log.
    is_ready: |site, _, log| {
        says(log, "Kafka Server started") && TcpStream::connect(("127.0.0.1", site.port)).is_ok()
    },
    stop: "TERM",
    last: "KILL",
    url: |site| format!("127.0.0.1:{}", site.port),
};

/// Where the archives are, or would be.
#[must_use]
pub fn folder() -> PathBuf {
    if let Some(folder) = std::env::var_os(LIBRARIES) {
        return folder.into();
    }
    tools().join(format!("kafka-{KAFKA_VERSION}"))
}

/// Java with the archives of Kafka, by Kafka's version.
pub fn find() -> Result<Found> {
    let folder = folder();
    let Some(version) = version_in(&folder) else {
        return Err(Error::new(format!(
            "Kafka is not in {} (`cargo xtask test` fetches it, {LIBRARIES} names another folder)",
            folder.display()
        )));
    };
    let program = which("java").ok_or_else(|| {
        Error::new(
            "Kafka needs Java, which is not installed (Debian: apt-get install default-jre-headless)",
        )
    })?;
    Ok(Found {
        product: "Kafka",
        version,
        program,
    })
}

/// From `kafka_2.13-4.3.1.jar`.
fn version_in(folder: &Path) -> Option<String> {
    let files = fs::read_dir(folder).ok()?.flatten();
    files
        .filter_map(|file| file.file_name().into_string().ok())
        .find_map(|name| {
            let version = name.strip_prefix("kafka_2.13-")?.strip_suffix(".jar")?;
            Some(version.to_owned())
        })
}

/// A server that starts fast and stays small: it will not run for long enough to make up for an
/// optimising compiler, and the tests have one topic or two.
fn java() -> Vec<String> {
    let quiet = "-Dorg.slf4j.simpleLogger";
    vec![
        "-Xms64m".to_owned(),
        "-Xmx256m".to_owned(),
        "-XX:+UseSerialGC".to_owned(),
        "-XX:TieredStopAtLevel=1".to_owned(),
        "-Xshare:auto".to_owned(),
        format!("{quiet}.defaultLogLevel=warn"),
        format!("{quiet}.log.kafka.server.KafkaRaftServer=info"),
        "-cp".to_owned(),
        folder().join("*").display().to_string(),
    ]
}

fn properties(site: &Site) -> PathBuf {
    site.folder.join("server.properties")
}

fn format(site: &Site) -> Result<()> {
    let path = properties(site);
    fs::write(&path, settings(site)).context(|| format!("cannot write {}", path.display()))?;
    let mut arguments = java();
    arguments.extend(
        [
            "kafka.tools.StorageTool",
            "format",
            "--cluster-id",
            // Any sixteen bytes would do: nothing else is in the cluster.
            "dGlkZXdpcmUtdGVzdHM0MQ",
            "--config",
        ]
        .map(str::to_owned),
    );
    arguments.push(path.display().to_string());
    prepare(&site.found.program, arguments, &site.folder, site.account)
}

fn arguments(site: &Site) -> Vec<String> {
    let mut arguments = java();
    arguments.push("kafka.Kafka".to_owned());
    arguments.push(properties(site).display().to_string());
    // A port may turn out to be taken after all.
    for setting in ports(site) {
        arguments.extend(["--override".to_owned(), setting]);
    }
    arguments
}

fn ports(site: &Site) -> Vec<String> {
    let broker = format!("PLAINTEXT://127.0.0.1:{}", site.port);
    let controller = format!("127.0.0.1:{}", site.inner_port);
    let mut settings = vec![
        format!("listeners={broker},CONTROLLER://{controller}"),
        format!("advertised.listeners={broker}"),
        format!("controller.quorum.voters=1@{controller}"),
    ];
    settings.extend_from_slice(&site.settings);
    settings
}

/// Its inner topics with one partition each, and groups that begin at once: the defaults are made for
/// clusters, and cost a test seconds.
fn settings(site: &Site) -> String {
    let mut settings = ports(site);
    settings.push(format!("log.dirs={}", site.data()));
    settings.extend(
        [
            "process.roles=broker,controller",
            "node.id=1",
            "controller.listener.names=CONTROLLER",
            // Topics are made by those who need them, or their lack would not be noticed.
            "auto.create.topics.enable=false",
            "num.network.threads=2",
            "num.io.threads=2",
            "log.cleaner.enable=false",
            // One that was killed comes back when its own ghost has been forgotten.
            "broker.session.timeout.ms=1500",
            "broker.heartbeat.interval.ms=300",
            "group.initial.rebalance.delay.ms=0",
            "group.coordinator.threads=1",
            "offsets.topic.num.partitions=1",
            "offsets.topic.replication.factor=1",
            "transaction.state.log.num.partitions=1",
            "transaction.state.log.replication.factor=1",
            "transaction.state.log.min.isr=1",
            "share.coordinator.state.topic.num.partitions=1",
            "share.coordinator.state.topic.replication.factor=1",
            "share.coordinator.state.topic.min.isr=1",
        ]
        .map(str::to_owned),
    );
    settings.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_archives() {
        let folder = crate::folder::Folder::new("kafka-libs").unwrap();
        assert_eq!(version_in(folder.path()), None);
        folder.write("kafka-clients-4.3.0.jar", "").unwrap();
        folder.write("kafka_2.13-4.3.1.jar", "").unwrap();
        assert_eq!(version_in(folder.path()).as_deref(), Some("4.3.1"));
    }
}
