//! The API against its own description: a server is started on an empty store, schemathesis sends it what the
//! description permits and what it does not, and the server must neither fail nor answer what it has not declared.
//!
//! What is checked stands in `xtask/schemathesis/schemathesis.toml`.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process::{command, output, root, run_within, target};

/// The operator's key, so that every route is open; the server listens on loopback and lives for one run.
const ADMIN_KEY: &str = "a-key-for-one-run-on-an-empty-store";
const START_LIMIT: Duration = Duration::from_secs(60);
/// More than the server gives itself to drain.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// How long to search. The limits are far above what a run takes: they end one that hangs.
struct Effort {
    examples: &'static str,
    limit: Duration,
}

const USUAL: Effort = Effort {
    examples: "20",
    limit: Duration::from_secs(15 * 60),
};
const FULL: Effort = Effort {
    examples: "300",
    limit: Duration::from_secs(90 * 60),
};

pub fn run(program: &Path, full: bool) -> Result<()> {
    let effort = if full { FULL } else { USUAL };
    let mut scratch = Scratch::make()?;
    let result = search(program, &effort, &scratch.folder);
    if result.is_err() {
        scratch.show_log();
    }
    result
}

fn search(program: &Path, effort: &Effort, scratch: &Path) -> Result<()> {
    let mut server = Server::start(&target()?.join("debug/tidewire"), scratch)?;
    let settings = root().join("xtask/schemathesis");
    let searched = run_within(
        effort.limit,
        command(program)
            .arg("--config-file")
            .arg(settings.join("schemathesis.toml"))
            .args(["run", &format!("{}/openapi.json", server.address)])
            .args(["--url", &server.address])
            .args(["--max-examples", effort.examples])
            .env("TIDEWIRE_API_KEY", ADMIN_KEY)
            .env("SCHEMATHESIS_HOOKS", settings.join("hooks.py"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            // It keeps what it learned in the folder that it runs in.
            .current_dir(scratch),
    );
    if let Some(status) = server.child.try_wait()? {
        bail!("the server died under the requests: {status}");
    }
    // How it stops says less than what was found.
    let stopped = server.stop();
    searched?;
    stopped
}

/// A server of the build that the tests used; killed when dropped.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(binary: &Path, scratch: &Path) -> Result<Server> {
        let log = File::create(scratch.join(LOG)).context("cannot create the server's log")?;
        let mut command = command(binary);
        let child = command
            .args(["serve", "--addr", "127.0.0.1:0", "--data-dir"])
            .arg(scratch.join("data"))
            // Nothing of the developer's own settings: a DATABASE_URL would turn this loose on a real store.
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("TIDEWIRE_ADMIN_KEY", ADMIN_KEY)
            .current_dir(scratch)
            .stdout(Stdio::piped())
            .stderr(log.try_clone()?)
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let mut server = Server {
            child,
            address: String::new(),
        };
        let output = server
            .child
            .stdout
            .take()
            .context("the server has no output")?;
        let addresses = listen(output, log);
        server.address = match addresses.recv_timeout(START_LIMIT) {
            Ok(address) => address,
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                bail!(
                    "the server ended before it listened: {}",
                    server.child.wait()?
                )
            }
            Err(mpsc::RecvTimeoutError::Timeout) => bail!(
                "the server did not print `listening on http://…` within {} s",
                START_LIMIT.as_secs()
            ),
        };
        Ok(server)
    }

    /// Ask it to end, as an operator would, and see that it ends well.
    fn stop(mut self) -> Result<()> {
        let id = self.child.id().to_string();
        output(command("sh").args(["-c", "kill -TERM \"$0\"", &id]))
            .context("cannot send SIGTERM to the server")?;
        let asked = Instant::now();
        while asked.elapsed() < STOP_LIMIT {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("the server ended with {status} on SIGTERM, not with 0"),
                None => thread::sleep(Duration::from_millis(20)),
            }
        }
        bail!(
            "the server did not end within {} s of SIGTERM",
            STOP_LIMIT.as_secs()
        );
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Copy the output to the log for as long as it lasts, so that the server never blocks on it; the address comes out.
fn listen(output: ChildStdout, mut log: File) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut sender = Some(sender);
        for line in BufReader::new(output).lines() {
            let Ok(line) = line else { return };
            if let Some((_, address)) = line.split_once("listening on ")
                && let Some(sender) = sender.take()
            {
                // The receiver is gone only when the wait for the address has been given up.
                let _ = sender.send(address.trim().to_owned());
            }
            if writeln!(log, "{line}").is_err() {
                return;
            }
        }
    });
    receiver
}

const LOG: &str = "server.log";
/// How much of the log is shown after a failure.
const LOG_LINES: usize = 40;
const LOG_COLUMNS: usize = 240;

/// A folder outside the project, where no `.env` of a developer is found; kept when the run failed.
struct Scratch {
    folder: PathBuf,
    keep: bool,
}

impl Scratch {
    fn make() -> Result<Scratch> {
        let folder =
            std::env::temp_dir().join(format!("tidewire-schemathesis-{}", std::process::id()));
        fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Scratch {
            folder,
            keep: false,
        })
    }

    fn show_log(&mut self) {
        self.keep = true;
        let log = self.folder.join(LOG);
        let text = fs::read(&log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        println!("\nthe end of the server's log, {}:", log.display());
        for line in &lines[lines.len().saturating_sub(LOG_LINES)..] {
            println!("  {}", line.chars().take(LOG_COLUMNS).collect::<String>());
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.keep {
            // What cannot be removed is left to the system's own sweep of its temporary folder.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}
