//! A server under a small shell that holds the other end of a pipe from us. We send the names of
//! signals through it, which the shell passes on; when the pipe closes, because we let go or because
//! we are dead, the shell ends the server and removes its folder. No signal handler and no unsafe
//! code of ours, and nothing that a kill -9 could skip.
//!
//! The shell is in a process group of its own: a Ctrl-C in the terminal is for us.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use crate::{Context as _, Error, Result, account::Account};

/// Says the server's process id, then `ended STATUS`. `keep` before the end leaves the folder alone.
/// What listens for orders runs beside, because a shell cannot wait for a process and for a line at
/// once. In the end the server is killed if its last signal does not end it within ten seconds.
const SCRIPT: &str = r#"
folder=$1 log=$2 last=$3
shift 3
exec 3<&0
"$@" </dev/null >>"$log" 2>&1 3<&- &
server=$!
trap '' PIPE
exec 2>/dev/null
echo "$server"
{
    while read -r signal; do kill -s "$signal" "$server"; done
    trap '' TERM
    kill -s "$last" "$server"
    left=100
    while [ "$left" -gt 0 ] && kill -0 "$server"; do
        sleep 0.1
        left=$((left - 1))
    done
    [ "$left" -gt 0 ] || kill -s KILL "$server"
} <&3 3<&- >/dev/null &
ears=$!
wait "$server"
status=$?
kill "$ears"
wait "$ears"
echo "ended $status"
keep=
while read -r word <&3; do keep=$word; done
[ "$keep" = keep ] || rm -rf -- "$folder"
"#;

/// More than a shell and a fork take on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Guard {
    shell: Child,
    orders: Option<ChildStdin>,
    /// Behind a lock only so that a server can be shared between threads.
    said: Mutex<mpsc::Receiver<String>>,
    server: String,
    ended: Option<String>,
}

/// What is to be guarded.
pub struct Guarded<'a> {
    pub program: &'a Path,
    pub arguments: Vec<String>,
    pub account: Account,
    /// Where it runs, and what is removed in the end.
    pub folder: &'a Path,
    pub log: PathBuf,
    /// The signal that ends it fast and without leaving anything in the system.
    pub last_signal: &'static str,
}

impl Guard {
    pub fn start(guarded: &Guarded<'_>) -> Result<Guard> {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", SCRIPT, "guard"])
            .arg(guarded.folder)
            .arg(&guarded.log)
            .arg(guarded.last_signal)
            .arg(guarded.program)
            .args(&guarded.arguments);
        plain(&mut command, guarded.folder, guarded.account);
        let mut shell = command
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context(|| format!("cannot start a shell for {}", guarded.program.display()))?;
        let orders = shell.stdin.take();
        let output = shell.stdout.take();
        let (sender, said) = mpsc::channel();
        thread::spawn(move || {
            let lines = output.into_iter().flat_map(|it| BufReader::new(it).lines());
            for line in lines.map_while(std::result::Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let server = said.recv_timeout(PATIENCE).unwrap_or_default();
        let guard = Guard {
            shell,
            orders,
            said: Mutex::new(said),
            server,
            ended: None,
        };
        if guard.server.is_empty() {
            return Err(Error::new(format!(
                "the shell that was to start {} ended at once",
                guarded.program.display()
            )));
        }
        Ok(guard)
    }

    /// The server's process id.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Sends a signal by its name without `SIG`.
    pub fn signal(&mut self, name: &str) -> Result<()> {
        self.order(name)
            .context(|| format!("cannot send {name} to process {}", self.server))
    }

    fn order(&mut self, word: &str) -> std::io::Result<()> {
        match &mut self.orders {
            Some(orders) => orders.write_all(format!("{word}\n").as_bytes()),
            None => Ok(()),
        }
    }

    /// Its exit status once it has ended, if it does within `limit`.
    pub fn ended(&mut self, limit: Duration) -> Option<&str> {
        if self.ended.is_none() {
            let said = self.said.get_mut().unwrap_or_else(PoisonError::into_inner);
            self.ended = match said.recv_timeout(limit) {
                Ok(line) => Some(line.trim_start_matches("ended ").to_owned()),
                Err(mpsc::RecvTimeoutError::Timeout) => None,
                Err(mpsc::RecvTimeoutError::Disconnected) => Some("unknown".to_owned()),
            };
        }
        self.ended.as_deref()
    }

    /// Lets go of a server that has ended, and leaves its folder to the next one.
    pub fn release(mut self) -> Result<()> {
        self.order("keep")
            .context(|| format!("the shell over process {} is gone", self.server))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.orders.take());
        // It cannot hang: the shell kills what does not end.
        let _ = self.shell.wait();
    }
}

/// Nothing of our environment: a `PGPORT` or a `MYSQL_HOME` would move a private server elsewhere.
/// Messages are in English, because some are read. Temporary files are in the folder: a MariaDB that
/// starts removes those of another.
pub fn plain(command: &mut Command, folder: &Path, account: Account) {
    command.env_clear().current_dir(folder);
    command.env("LC_ALL", "C").env("TMPDIR", folder).env(
        "PATH",
        std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into()),
    );
    account.runs(command);
}

/// Runs a preparing program to its end.
pub fn prepare<S: AsRef<OsStr>>(
    program: &Path,
    arguments: impl IntoIterator<Item = S>,
    folder: &Path,
    account: Account,
) -> Result<()> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    plain(&mut command, folder, account);
    let output = command
        .output()
        .context(|| format!("cannot start {}", program.display()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(Error::new(format!(
        "{} ended with {}:\n{}",
        program.display(),
        output.status,
        last_lines(&String::from_utf8_lossy(&said))
    )))
}

/// The end of a log, for an error.
pub fn tail_of(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    last_lines(&String::from_utf8_lossy(&text))
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
