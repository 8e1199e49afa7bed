//! Agents and workers as processes, in pairs.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use serde_json::Value;
use tidewire_testkit::{Answer, TestApp, eventually};

use super::WORKER;
use crate::support::{client, lasting_address, tidewire};

/// An agent or a worker. Killed when it is dropped.
pub struct Process {
    child: Child,
    pub url: String,
    pub client: reqwest::Client,
}

impl Process {
    #[track_caller]
    fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let stdout = child.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        let url = lines.find_map(|line| line.strip_prefix("listening on ").map(str::to_owned));
        thread::spawn(move || lines.for_each(drop));
        Process {
            child,
            url: url.expect("it listens"),
            client: client(),
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        TestApp::send(self.client.get(format!("{}{path}", self.url))).await
    }

    pub async fn state(&self) -> Value {
        self.get("/state").await.expect(200).json()
    }

    pub fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it is dead");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A worker on an address that it has again after a restart.
pub fn worker(address: &str, subnets: &str) -> Process {
    let mut command = tidewire();
    command
        .args([
            "fleet",
            "worker",
            "--addr",
            address,
            "--allow-subnet",
            subnets,
        ])
        .env("AGENT_API_KEY", format!("an-older-key,{WORKER}"));
    Process::start(command)
}

pub struct Member {
    pub worker: Option<Process>,
    pub agent: Option<Process>,
    worker_address: String,
    pub state: PathBuf,
    pub subnets: &'static str,
    pub key: String,
    controller: String,
}

impl Member {
    pub fn start(
        folder: &Path,
        n: usize,
        controller: &str,
        key: &str,
        subnets: &'static str,
    ) -> Self {
        let mut member = Member {
            worker: None,
            agent: None,
            worker_address: lasting_address(),
            state: folder.join(format!("agent-{n}.json")),
            subnets,
            key: key.to_owned(),
            controller: controller.to_owned(),
        };
        member.start_worker();
        member.start_agent();
        member
    }

    pub fn start_worker(&mut self) {
        self.worker = Some(worker(&self.worker_address, self.subnets));
    }

    pub fn start_agent(&mut self) {
        let mut command = tidewire();
        let worker = format!("http://{}", self.worker_address);
        command
            .args(["fleet", "agent", "--addr", "127.0.0.1:0"])
            .args(["--poll-interval", "200ms", "--max-backoff", "400ms"])
            .args(["--controller", &self.controller, "--worker", &worker])
            .arg("--state")
            .arg(&self.state)
            .env("CONTROLLER_API_KEY", &self.key)
            .env("WORKER_API_KEY", WORKER);
        self.agent = Some(Process::start(command));
    }

    pub fn worker(&self) -> &Process {
        self.worker.as_ref().expect("the worker runs")
    }

    pub fn agent(&self) -> &Process {
        self.agent.as_ref().expect("the agent runs")
    }

    /// Waits until the worker works by this version, and the agent knows.
    pub async fn runs(&self, version: u64) {
        eventually(&format!("version {version} runs"), async || {
            let (worker, agent) = (self.worker().state().await, self.agent().state().await);
            let runs = worker["version"] == version && agent["version"] == version;
            (runs && agent["pending"] == Value::Null).then_some(())
        })
        .await;
    }

    pub async fn id(&self) -> String {
        self.agent().state().await["agent_id"]
            .as_str()
            .expect("it is registered")
            .to_owned()
    }
}
