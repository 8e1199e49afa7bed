//! Child processes that are measured: started in a folder of their own, read through `/proc`, ended by their id.

use std::ffi::OsStr;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Resource, Rlimit, Signal};
use tokio::process::{Child, Command};

use crate::data::Data;

const START_WITHIN: Duration = Duration::from_secs(30);
const STOP_WITHIN: Duration = Duration::from_secs(15);
/// `/proc/PID/stat` counts in hundredths of a second on every Linux.
const TICKS: f64 = 100.0;

/// How a server says that it serves.
pub enum Ready {
    /// A line in its log with this text, and the address after it.
    Line(&'static str),
    /// It was told where to listen and says nothing that can be relied on.
    Connect(SocketAddr),
}

pub struct Server {
    child: Child,
    pub pid: u32,
    pub addr: SocketAddr,
    pub data: Data,
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    pub cpu_seconds: f64,
    pub rss_mib: f64,
    pub peak_rss_mib: f64,
}

impl Server {
    /// Logs go to a file in the folder, as they would in production.
    pub async fn start(mut command: Command, data: Data, ready: Ready) -> Result<Self> {
        let folder = data.folder.path();
        let log = folder.join("server.log");
        let out = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        command
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .kill_on_drop(true);
        keep_little_environment(&mut command);
        let program = command.as_std().get_program().to_owned();
        let mut child = command
            .spawn()
            .with_context(|| format!("start {}", shown(&program)))?;
        let pid = child.id().context("the server ended at once")?;
        let deadline = Instant::now() + START_WITHIN;
        loop {
            if let Some(addr) = is_ready(&ready, &log).await {
                return Ok(Self {
                    child,
                    pid,
                    addr,
                    data,
                });
            }
            if let Some(status) = child.try_wait()? {
                bail!(
                    "{} ended with {status} while starting: {}",
                    shown(&program),
                    tail(&log)
                );
            }
            if Instant::now() > deadline {
                bail!(
                    "{} did not listen within {START_WITHIN:?}: {}",
                    shown(&program),
                    tail(&log)
                );
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub fn usage(&self) -> Result<Usage> {
        usage(self.pid)
    }

    /// Ends the process as `kill -9` does: it gets to do nothing more.
    pub async fn kill(mut self) -> Result<()> {
        self.child.kill().await.context("kill the server")
    }

    /// Ends the process and hands its data on, for a start over them.
    pub async fn stop(mut self) -> Result<Data> {
        let pid = i32::try_from(self.pid)
            .ok()
            .and_then(Pid::from_raw)
            .context("no such process id")?;
        rustix::process::kill_process(pid, Signal::TERM).context("end the server")?;
        if tokio::time::timeout(STOP_WITHIN, self.child.wait())
            .await
            .is_err()
        {
            self.child.kill().await.context("kill the server")?;
        }
        Ok(self.data)
    }
}

/// Nothing of the caller's environment may configure what is measured.
pub fn keep_little_environment(command: &mut Command) {
    let kept = ["PATH", "HOME", "TMPDIR", "LANG"];
    let kept: Vec<_> = kept
        .iter()
        .filter_map(|name| Some((name, std::env::var_os(name)?)))
        .collect();
    let set: Vec<_> = command
        .as_std()
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
        .collect();
    command.env_clear().envs(kept).envs(set);
}

async fn is_ready(ready: &Ready, log: &Path) -> Option<SocketAddr> {
    match ready {
        Ready::Line(text) => {
            let log = std::fs::read_to_string(log).ok()?;
            let (_, after) = log.split_once(text)?;
            // Until the line has its end, the address may be half written.
            let (address, _) =
                after.split_once(|end: char| end.is_whitespace() || end == '\u{1b}')?;
            address.parse().ok()
        }
        Ready::Connect(addr) => {
            tokio::net::TcpStream::connect(addr).await.ok()?;
            Some(*addr)
        }
    }
}

/// What this process itself has used, for a limit that runs in it.
pub fn own_usage() -> Result<Usage> {
    usage(std::process::id())
}

fn usage(pid: u32) -> Result<Usage> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("process {pid} has ended"))?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    // The command's name, in brackets, may hold spaces; what follows it does not.
    let (_, fields) = stat.rsplit_once(") ").context("unreadable /proc stat")?;
    let mut ticks = fields
        .split_ascii_whitespace()
        .skip(11)
        .map(str::parse::<f64>);
    let (Some(user), Some(system)) = (ticks.next(), ticks.next()) else {
        bail!("too few fields in /proc/{pid}/stat");
    };
    Ok(Usage {
        cpu_seconds: (user? + system?) / TICKS,
        rss_mib: mib(&status, "VmRSS:")?,
        peak_rss_mib: mib(&status, "VmHWM:")?,
    })
}

fn mib(status: &str, field: &str) -> Result<f64> {
    let line = status.lines().find(|line| line.starts_with(field));
    let kib = line.and_then(|line| line.split_ascii_whitespace().nth(1)?.parse::<f64>().ok());
    Ok(kib.with_context(|| format!("no {field} in /proc status"))? / 1_024.0)
}

/// The last lines of a log, for an error.
fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
}

fn shown(program: &OsStr) -> String {
    PathBuf::from(program).display().to_string()
}

/// Thousands of subscribers need as many files here and as many in the server, which inherits this limit.
pub fn raise_open_files() -> Result<()> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    rustix::process::setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    )?;
    Ok(())
}

/// How many files this process may have open, and each that it starts.
pub fn open_files() -> u64 {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    limit.current.unwrap_or(u64::MAX)
}

/// A free loopback port, for servers that cannot pick one and say which. Another process may take it in between; then
/// the server fails to start and says so.
pub fn free_port() -> Result<SocketAddr> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?)
}
