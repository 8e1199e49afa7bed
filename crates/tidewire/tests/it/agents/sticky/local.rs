//! Instances as processes of this machine: of operators beside a server, and of servers themselves.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Stdio},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tidewire_core::duration;

use tidewire_testkit::eventually;

use super::world::{LEASE, Setup, World, begin, completed, said, words};
use crate::support::{House, Server, lasting_address, run, tidewire};

const ADMIN: &str = "the-operators-key";

mod beside {
    suite!(super::Beside);
}

mod within {
    suite!(super::Within);
}

fn command(setup: Setup) -> String {
    let program = env!("CARGO_BIN_EXE_tidewire");
    let pace = duration::format(setup.pace);
    format!("local:exec '{program}' reference-agent --delay {pace}")
}

/// The instances that take their turns from these servers, with their processes.
fn instances(gateways: &[String]) -> BTreeMap<String, Vec<Pid>> {
    let mut found: BTreeMap<String, Vec<Pid>> = BTreeMap::new();
    let processes = fs::read_dir("/proc").expect("this system shows its processes");
    for process in processes.flatten() {
        let id = process.file_name().to_str().and_then(|id| id.parse().ok());
        let Some(id) = id.and_then(Pid::from_raw) else {
            continue;
        };
        // One that has ended meanwhile, or is somebody else's.
        let Ok(environment) = fs::read_to_string(process.path().join("environ")) else {
            continue;
        };
        let variable = |name: &str| {
            let mut all = environment.split('\0');
            all.find_map(|it| it.strip_prefix(name)?.strip_prefix('='))
        };
        let gateway = variable("TIDEWIRE_GATEWAY");
        let ours = gateway.is_some_and(|it| gateways.iter().any(|own| own == it));
        if let Some(name) = variable("TIDEWIRE_INSTANCE").filter(|_| ours) {
            found.entry(name.to_owned()).or_default().push(id);
        }
    }
    found
}

fn kill<'p>(processes: impl IntoIterator<Item = &'p Pid>) {
    for process in processes {
        // It may have ended by itself.
        let _ = kill_process(*process, Signal::KILL);
    }
}

/// Operators that are processes of their own.
pub struct Beside {
    server: Server,
    operators: Vec<Operator>,
    /// How many were ever started.
    started: usize,
    setup: Setup,
}

struct Operator {
    child: Child,
    log: PathBuf,
}

impl Drop for Operator {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            eprintln!("--- {}\n{log}\n---", self.log.display());
        }
    }
}

impl World for Beside {
    async fn start(setup: Setup) -> Self {
        let house = House::on(setup.engine).await.with_admin(ADMIN);
        let mut world = Beside {
            server: house.start(),
            operators: Vec::new(),
            started: 0,
            setup,
        };
        for _ in 0..setup.operators {
            world.start_operator().await;
        }
        world
    }

    fn server(&self) -> &Server {
        &self.server
    }

    async fn running(&self) -> BTreeSet<String> {
        instances(&[self.server.url()]).into_keys().collect()
    }

    async fn crash(&self, instance: &str) {
        let all = instances(&[self.server.url()]);
        kill(all.get(instance).expect("it runs"));
    }

    async fn kill_operator(&mut self) {
        drop(self.operators.remove(0));
    }

    async fn start_operator(&mut self) {
        let Setup {
            max,
            warm,
            idle_timeout,
            ..
        } = self.setup;
        self.started += 1;
        let log = format!("operator-{}.log", self.started);
        let log = self.server.house.path().join(log);
        let mut operator = self.server.cli(&["operator", "--addr", "127.0.0.1:0"]);
        operator
            .args(["--agents", &command(self.setup), "--lease", LEASE])
            .args(["--max", &max.to_string(), "--warm", &warm.to_string()])
            .args(["--idle-timeout", &duration::format(idle_timeout)])
            .env("TIDEWIRE_LOG_LEVEL", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).expect("a log file"));
        let child = operator.spawn().expect("it starts");
        let mut operator = Operator { child, log };
        let stdout = operator.child.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(stdout).lines();
        let said = lines.next().expect("a line").expect("it says something");
        assert!(said.starts_with("listening on http://"), "{said}");
        // Read to its end, or it could not write any more.
        thread::spawn(move || lines.for_each(drop));
        self.operators.push(operator);
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.operators.clear();
        kill(instances(&[self.server.url()]).values().flatten());
    }
}

/// Servers that run their agents themselves.
pub struct Within {
    servers: Vec<Server>,
    house: House,
    /// Of all servers that were ever started.
    gateways: Vec<String>,
}

impl Within {
    /// With these flags besides.
    async fn with(setup: Setup, flags: &[&str]) -> Self {
        let house = House::on(setup.engine).await.with_admin(ADMIN).with(&[
            "--agents",
            &command(setup),
            "--agents-max",
            &setup.max.to_string(),
            "--agents-warm",
            &setup.warm.to_string(),
            "--agents-idle-timeout",
            &duration::format(setup.idle_timeout),
        ]);
        let mut world = Within {
            servers: Vec::new(),
            house: house.with(flags),
            gateways: Vec::new(),
        };
        for _ in 0..setup.operators {
            world.start_operator().await;
        }
        world
    }
}

impl World for Within {
    async fn start(setup: Setup) -> Self {
        Within::with(setup, &[]).await
    }

    fn server(&self) -> &Server {
        self.servers.last().expect("one runs")
    }

    async fn running(&self) -> BTreeSet<String> {
        instances(&self.gateways).into_keys().collect()
    }

    async fn crash(&self, instance: &str) {
        let all = instances(&self.gateways);
        kill(all.get(instance).expect("it runs"));
    }

    async fn kill_operator(&mut self) {
        self.servers.remove(0).kill();
    }

    async fn start_operator(&mut self) {
        let server = self.house.with(&["--addr", &lasting_address()]).start();
        self.gateways.push(server.url());
        self.servers.push(server);
    }
}

impl Drop for Within {
    fn drop(&mut self) {
        self.servers.clear();
        kill(instances(&self.gateways).values().flatten());
    }
}

#[tokio::test]
async fn a_server_that_stops_leaves_no_process_behind_and_no_turn_undone() {
    let setup = Setup {
        pace: Duration::from_millis(50),
        ..Setup::default()
    };
    let mut world = Within::with(setup, &["--drain", "6s"]).await;
    let id = begin(world.server(), "one", &words(150)).await;
    eventually("the first word", async || {
        let said = said(world.server(), "one", "message.delta").await;
        (said > 0).then_some(())
    })
    .await;
    let server = world.servers.pop().expect("one runs");
    let log = server.stop().await;
    assert!(!log.contains("it is cut off"), "{log}");
    assert_eq!(instances(&world.gateways), BTreeMap::new());

    // It was given back, and goes on when the server does; no attempt of it is lost.
    world.start_operator().await;
    let done = completed(world.server(), "one", &id).await;
    let path = format!("/v1/jobs/{}", done["job_id"].as_str().expect("a job"));
    let job = world.server().get(&path).await.expect(200).json();
    assert_eq!(job["attempts"], 1, "{job:#}");
    assert_eq!(said(world.server(), "one", "turn.started").await, 2);
}

#[test]
fn an_operator_that_makes_no_sense_says_so() {
    for (flags, says) in [
        (&["--agents", "./agent.py"][..], "local:./agent.py"),
        (&["--agents", "local:x", "--lease", "1s"], "--lease 1s"),
        (&[], "--agents local:COMMAND"),
    ] {
        let ended = run(tidewire().arg("operator").args(flags));
        let ended = ended.expect(2);
        assert!(ended.error().contains(says), "{ended:#?}");
    }
}
