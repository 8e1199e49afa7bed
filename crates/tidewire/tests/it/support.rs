//! The binary as a process: started, spoken to, signalled, killed. Every wait has a deadline, and a
//! test that fails shows what its servers logged.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use tempfile::TempDir;
use tidewire_testkit::{
    Answer, Engine, TestApp,
    servers::{self, Database},
};

pub use rustix::process::{Pid, Signal};

/// After this something hangs. Long, because the machine may have much else to do.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Whether the long runs are asked for.
pub fn full() -> bool {
    std::env::var_os("TIDEWIRE_TEST_FULL").is_some_and(|value| value == "1")
}

/// The built binary, with nothing of this process's environment that could be a setting.
pub fn tidewire() -> Command {
    bare(Path::new(env!("CARGO_BIN_EXE_tidewire")))
}

pub fn bare(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    for name in ["PATH", "TMPDIR", "LLVM_PROFILE_FILE"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

/// What a command that ended by itself said.
#[derive(Debug)]
pub struct Ended {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// Checks the exit status, showing everything if it is another.
    #[track_caller]
    pub fn expect(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "{self:#?}");
        self
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// Standard output as one JSON document a line.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        let read = |line| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}: {self:#?}"))
        };
        self.stdout.lines().map(read).collect()
    }

    /// The one line that an error is.
    #[track_caller]
    pub fn error(&self) -> &str {
        let line = self.stderr.trim_end();
        assert!(
            line.starts_with("error: ") && !line.contains('\n'),
            "not one line of error: {self:#?}"
        );
        line
    }
}

/// Runs a command to its end.
#[track_caller]
pub fn run(command: &mut Command) -> Ended {
    run_with(command, b"")
}

/// Runs a command to its end with this on its standard input.
#[track_caller]
pub fn run_with(command: &mut Command, input: &[u8]) -> Ended {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = Reaped(command.spawn().expect("the command starts"));
    let read = |stream: Option<Box<dyn std::io::Read + Send>>| {
        let mut stream = stream.expect("it is piped");
        thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stream.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        })
    };
    let stdout = read(child.0.stdout.take().map(|stream| Box::new(stream) as _));
    let stderr = read(child.0.stderr.take().map(|stream| Box::new(stream) as _));
    let mut stdin = child.0.stdin.take().expect("it is piped");
    let input = input.to_vec();
    let writer = thread::spawn(move || {
        // A command that does not read its input is none the worse.
        let _ = stdin.write_all(&input);
    });
    let status = wait(&mut child.0).unwrap_or_else(|| panic!("{command:?} does not end"));
    writer.join().expect("the input was written");
    Ended {
        status: status.code(),
        stdout: stdout.join().expect("the output was read"),
        stderr: stderr.join().expect("the errors were read"),
    }
}

/// A child that does not outlive the test.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait(child: &mut Child) -> Option<ExitStatus> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return Some(status);
        }
        thread::sleep(Duration::from_millis(5));
    }
    None
}

/// A folder for a server and the flags it is started with, which stay the same over restarts.
#[derive(Clone)]
pub struct House {
    folder: Arc<TempDir>,
    flags: Vec<String>,
    key: Option<String>,
    prelude: Option<&'static str>,
    /// The store, if it is no file in the folder.
    database: Option<Arc<Database>>,
}

impl House {
    pub fn new() -> Self {
        House {
            folder: Arc::new(TempDir::new().expect("a temporary folder")),
            flags: Vec::new(),
            key: None,
            prelude: None,
            database: None,
        }
    }

    /// One whose store is empty, on this engine.
    pub async fn on(engine: Engine) -> Self {
        match engine {
            Engine::Sqlite => House::new(),
            Engine::Postgres | Engine::MySql => {
                House::with_database(Database::create(engine, &servers::url(engine)).await)
            }
        }
    }

    /// One whose store is in this database.
    pub fn with_database(database: Database) -> Self {
        let mut house = House::new().with(&["--database-url", &database.url()]);
        house.database = Some(Arc::new(database));
        house
    }

    /// Where the store is; panics if it is a file.
    pub fn database_url(&self) -> String {
        let database = self.database.as_ref();
        database.expect("the store is on a server").url()
    }

    /// The same folder, and more flags; of a flag that comes twice the last one holds.
    #[must_use]
    pub fn with(&self, flags: &[&str]) -> Self {
        let mut house = self.clone();
        for pair in flags.chunks(2) {
            let [flag, value] = pair else {
                panic!("flags come with values: {flags:?}")
            };
            house
                .flags
                .retain(|given| !given.starts_with(&format!("{flag}=")));
            house.flags.push(format!("{flag}={value}"));
        }
        house
    }

    /// A server that has this admin key, to which requests show it.
    #[must_use]
    pub fn with_admin(&self, key: &str) -> Self {
        let mut house = self.with(&["--admin-key", key]);
        house.key = Some(key.to_owned());
        house
    }

    /// Runs this in a shell before the server takes the shell's place.
    #[must_use]
    pub fn with_prelude(&self, shell: &'static str) -> Self {
        let mut house = self.clone();
        house.prelude = Some(shell);
        house
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self) -> Command {
        let mut command = match self.prelude {
            None => tidewire(),
            Some(prelude) => {
                let mut shell = bare(Path::new("/bin/sh"));
                shell
                    .arg("-c")
                    .arg(format!("{prelude}; exec \"$0\" \"$@\""))
                    .arg(env!("CARGO_BIN_EXE_tidewire"));
                shell
            }
        };
        command.current_dir(self.path()).arg("serve");
        let defaults = [
            ("--addr", "127.0.0.1:0"),
            ("--log-level", "warn"),
            ("--data-dir", "data"),
        ];
        for (flag, value) in defaults {
            if !self
                .flags
                .iter()
                .any(|given| given.starts_with(&format!("{flag}=")))
            {
                command.arg(format!("{flag}={value}"));
            }
        }
        command.args(&self.flags);
        command
    }

    /// Starts a server and waits until it listens.
    #[track_caller]
    pub fn start(&self) -> Server {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let log = self.path().join(format!(
            "server-{}.log",
            COUNT.fetch_add(1, Ordering::Relaxed)
        ));
        let mut child = self
            .command()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).expect("a log file"))
            .spawn()
            .expect("the server starts");
        let stdout = child.stdout.take().expect("it is piped");
        let (said, listening) = mpsc::channel();
        thread::spawn(move || {
            // Read to its end, or the server could not write any more.
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = said.send(line);
            }
        });
        let mut server = Server {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            client: client(),
            house: self.clone(),
            log,
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match listening.recv_timeout(left) {
                Ok(line) => {
                    if let Some(address) = line.strip_prefix("listening on http://") {
                        server.address = address.parse().expect("an address");
                        return server;
                    }
                }
                Err(error) => {
                    let status = server.child.try_wait();
                    panic!("it does not listen ({error}, {status:?}): {}", server.log());
                }
            }
        }
    }

    /// Starts a server that is to end before it serves.
    #[track_caller]
    pub fn refused(&self) -> Ended {
        let ended = run(&mut self.command());
        assert!(!ended.stdout.contains("listening on"), "{ended:#?}");
        ended
    }
}

/// An address for a server that is to be started again on it. Below the ports that the kernel gives
/// out by itself: nobody takes it while the server is down, not even a client that connects.
pub fn lasting_address() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let offset = std::process::id() * 16 + NEXT.fetch_add(1, Ordering::Relaxed);
        let address = format!("127.0.0.1:{}", 20_000 + offset % 10_000);
        if TcpListener::bind(&address).is_ok() {
            return address;
        }
    }
}

/// A client whose connections are its own.
pub fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .tls_certs_only(std::iter::empty())
        .read_timeout(PATIENCE)
        .build()
        .expect("a client")
}

/// A running server. Killed when it is dropped.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    pub client: reqwest::Client,
    pub house: House,
    log: PathBuf,
}

impl Server {
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// What it wrote to standard error so far. Lines are written a moment after what they tell of:
    /// what must be there is in the answer of [`Server::stop`].
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_else(|error| error.to_string())
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.url()));
        match &self.house.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        TestApp::send(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        TestApp::send(self.request(Method::POST, path).json(body)).await
    }

    /// Everything in a list, page by page, newest first.
    pub async fn list(&self, path: &str, name: &str) -> Vec<Value> {
        let mut all = Vec::new();
        let mut cursor = String::new();
        let join = if path.contains('?') { '&' } else { '?' };
        loop {
            let page = self
                .get(&format!("{path}{join}limit=500{cursor}"))
                .await
                .expect(200)
                .json();
            all.extend(page[name].as_array().expect("a list").iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return all,
            }
        }
    }

    /// A client command that asks this server.
    pub fn cli(&self, arguments: &[&str]) -> Command {
        let mut command = tidewire();
        command
            .current_dir(self.house.path())
            .args(arguments)
            .env("TIDEWIRE_SERVER", self.url());
        if let Some(key) = &self.house.key {
            command.env("TIDEWIRE_API_KEY", key);
        }
        command
    }

    /// Runs a client command that is to succeed.
    #[track_caller]
    pub fn ask(&self, arguments: &[&str]) -> Ended {
        run(&mut self.cli(arguments)).expect(0)
    }

    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid(), signal).expect("it can be signalled");
    }

    /// Ends it at this instant, as a crash would.
    pub fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        let status = wait(&mut self.child).expect("it is dead");
        assert_eq!(
            status.signal(),
            Some(9),
            "it had ended before: {}",
            self.log()
        );
    }

    /// Waits for its end. Other tasks go on meanwhile.
    pub async fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("it does not end: {}", self.log());
    }

    /// Stops it as a process manager would; it must end well. Answers its whole log.
    pub async fn stop(mut self) -> String {
        self.signal(Signal::TERM);
        let status = self.ended().await;
        let log = self.log();
        assert_eq!(status.code(), Some(0), "{log}");
        log
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(60)..];
            eprintln!("--- {}\n{}\n---", self.log.display(), tail.join("\n"));
        }
    }
}

/// Checks what every answer of status 4xx or 503 must be.
#[track_caller]
pub fn assert_problem(answer: &Answer) {
    let shown = || format!("{} {:?} {}", answer.status, answer.headers, answer.text);
    let header = |name: &str| {
        answer
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    assert_eq!(
        header("content-type"),
        Some("application/problem+json"),
        "{}",
        shown()
    );
    let body = answer.json();
    assert_eq!(body["status"], answer.status, "{}", shown());
    assert_eq!(
        body["request_id"].as_str(),
        header("x-request-id"),
        "{}",
        shown()
    );
    for name in ["type", "title", "detail", "request_id"] {
        assert!(
            body[name].as_str().is_some_and(|text| !text.is_empty()),
            "{name}: {}",
            shown()
        );
    }
    if matches!(answer.status, 429 | 503) {
        let seconds = header("retry-after").and_then(|text| text.parse::<u64>().ok());
        assert!(seconds.is_some(), "no Retry-After: {}", shown());
    }
}

/// The numbers 1, 2, 3 … n, whatever order they come in.
#[track_caller]
pub fn assert_gapless(what: &str, mut numbers: Vec<u64>) {
    numbers.sort_unstable();
    let expected: Vec<_> = (1..=numbers.len() as u64).collect();
    assert_eq!(numbers, expected, "{what}");
}
