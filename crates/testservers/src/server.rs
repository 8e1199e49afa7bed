//! One private server: started, stopped, killed, started again.

use std::{
    fs,
    hash::{BuildHasher as _, RandomState},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use crate::{
    Context as _, Engine, Error, Found, Result,
    account::Account,
    find,
    folder::Folder,
    guard::{Guard, Guarded, tail_of},
    mysql::MYSQL,
    postgres::POSTGRES,
};

#[derive(Clone, Copy, Debug, Default)]
pub struct ServerOptions {
    /// What is committed survives the machine, as it does in production. Off, a server skips
    /// `fsync` and is several times as fast; `kill -9` of its process is survived either way.
    pub durable: bool,
}

/// The user that owns everything in a private server.
pub const USER: &str = "tidewire";

/// More than a start takes on a machine that has much else to do.
const START_WITHIN: Duration = Duration::from_secs(90);
/// How long a server that was killed may refuse to start.
const AGAIN_WITHIN: Duration = Duration::from_secs(30);
/// The guard kills what has not ended before this.
const END_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What differs between the products.
pub struct Product {
    /// Whom it runs as when we are root; the first that there is. As ourselves if none is named.
    pub accounts: &'static [&'static str],
    /// Short, for the folder.
    pub name: &'static str,
    /// Makes an empty server in the folder.
    pub prepare: fn(&Site) -> Result<()>,
    pub arguments: fn(&Site) -> Vec<String>,
    /// Whether a server with this process id, which writes this log, takes connections.
    pub is_ready: fn(&Site, &str, &Path) -> bool,
    /// Ends it cleanly without waiting for its clients.
    pub stop: &'static str,
    /// Ends it at once, and leaves nothing in the system.
    pub last: &'static str,
    pub url: fn(&Site) -> String,
}

/// What a server is made of, however often it is started.
pub struct Site {
    pub found: Found,
    pub folder: PathBuf,
    pub account: Account,
    pub port: u16,
    /// For what a product says to itself.
    pub inner_port: u16,
    pub password: String,
    pub durable: bool,
    /// `name=value`; they win over those of the tests.
    pub settings: Vec<String>,
}

impl Site {
    pub fn data(&self) -> String {
        self.folder.join("data").display().to_string()
    }
}

/// A process that is one of the products, with all that it stands on, and what can be done with every one
/// of them. It ends, and its data go, when this is dropped or this process ends.
pub struct Running {
    // In this order: the guard ends the server before its folder goes.
    guard: Option<Guard>,
    folder: Folder,
    site: Site,
    product: &'static Product,
    starts: u32,
}

impl Running {
    pub(crate) fn start(
        product: &'static Product,
        found: Found,
        options: ServerOptions,
        parent: &Path,
        settings: &[&str],
    ) -> Result<Running> {
        let folder = Folder::under(parent, product.name)?;
        let site = Site {
            found,
            folder: folder.path().to_owned(),
            account: Account::to_own(folder.path(), product.accounts)?,
            port: free_port()?,
            inner_port: free_port()?,
            password: secret(),
            durable: options.durable,
            settings: settings.iter().map(|&setting| setting.to_owned()).collect(),
        };
        (product.prepare)(&site)?;
        let mut running = Running {
            guard: None,
            folder,
            site,
            product,
            starts: 0,
        };
        // Somebody else may have taken the port in the meantime.
        for _ in 0..2 {
            if running.launch().is_ok() {
                return Ok(running);
            }
            running.site.port = free_port()?;
            running.site.inner_port = free_port()?;
        }
        running.launch()?;
        Ok(running)
    }

    /// Starts one that was stopped or killed, on its old port and folder.
    pub fn start_again(&mut self) -> Result<()> {
        if let Some(guard) = &mut self.guard
            && guard.ended(Duration::ZERO).is_none()
        {
            return Err(Error::new(format!(
                "{} runs already",
                self.site.found.product
            )));
        }
        // What a killed server left running may need a moment to notice.
        let deadline = Instant::now() + AGAIN_WITHIN;
        loop {
            match self.launch() {
                Err(_) if Instant::now() < deadline => thread::sleep(5 * LOOK_EVERY),
                result => return result,
            }
        }
    }

    /// The same without its data: it has forgotten everything.
    pub(crate) fn start_empty(&mut self) -> Result<()> {
        let data = self.site.data();
        fs::remove_dir_all(&data).context(|| format!("cannot empty {data}"))?;
        (self.product.prepare)(&self.site)?;
        self.start_again()
    }

    /// Ends it cleanly, as an operator would; open connections are cut.
    pub fn stop(&mut self) -> Result<()> {
        self.end(self.product.stop)
    }

    /// Ends it with -9.
    pub fn kill(&mut self) -> Result<()> {
        self.end("KILL")
    }

    #[must_use]
    pub fn found(&self) -> &Found {
        &self.site.found
    }

    /// Where its data and its logs are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// As its clients want it: for most a URL, with whoever owns everything in it.
    #[must_use]
    pub fn url(&self) -> String {
        (self.product.url)(&self.site)
    }

    fn launch(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_WITHIN;
        if let Some(guard) = self.guard.take() {
            guard.release()?;
        }
        self.starts += 1;
        let log = self.folder.path().join(format!("log.{}", self.starts));
        let mut guard = Guard::start(&Guarded {
            program: &self.site.found.program,
            arguments: (self.product.arguments)(&self.site),
            account: self.site.account,
            folder: self.folder.path(),
            log: log.clone(),
            last_signal: self.product.last,
        })?;
        let outcome = loop {
            if let Some(status) = guard.ended(LOOK_EVERY) {
                break Err(format!("ended with status {status}"));
            }
            if (self.product.is_ready)(&self.site, guard.server(), &log) {
                break Ok(());
            }
            if Instant::now() > deadline {
                guard.signal("KILL")?;
                guard.ended(END_WITHIN);
                break Err(format!("took no connections within {START_WITHIN:?}"));
            }
        };
        self.guard = Some(guard);
        outcome.map_err(|why| {
            Error::new(format!(
                "{} {} {why}:\n{}",
                self.site.found.product,
                self.site.found.version,
                tail_of(&log)
            ))
        })
    }

    fn end(&mut self, signal: &str) -> Result<()> {
        let Some(guard) = &mut self.guard else {
            return Ok(());
        };
        if guard.ended(Duration::ZERO).is_some() {
            return Ok(());
        }
        guard.signal(signal)?;
        let deadline = Instant::now() + END_WITHIN;
        // A process that it had just begun may hold its port for a moment longer.
        let is_gone = || TcpStream::connect(("127.0.0.1", self.site.port)).is_err();
        while guard.ended(LOOK_EVERY).is_none() || !is_gone() {
            if Instant::now() > deadline {
                return Err(Error::new(format!(
                    "{} did not end within {END_WITHIN:?} of SIG{signal}",
                    self.site.found.product
                )));
            }
            thread::sleep(LOOK_EVERY / 4);
        }
        Ok(())
    }
}

/// Gives a server of one's own all that every [`Running`] one can do.
macro_rules! is_running {
    ($server:ty) => {
        impl std::ops::Deref for $server {
            type Target = $crate::Running;

            fn deref(&self) -> &$crate::Running {
                &self.running
            }
        }

        impl std::ops::DerefMut for $server {
            fn deref_mut(&mut self) -> &mut $crate::Running {
                &mut self.running
            }
        }
    };
}

pub(crate) use is_running;

/// A database server of one's own. It ends, and its data go, when this is dropped or this process
/// ends.
pub struct Server {
    running: Running,
    engine: Engine,
}

impl Server {
    /// Makes an empty server on a free port of the loopback, and waits until it takes connections.
    pub fn start(engine: Engine, options: ServerOptions) -> Result<Server> {
        Server::start_tuned(engine, options, &std::env::temp_dir(), &[])
    }

    /// As `start`, for benches: its folder is made under `parent`, which may lie on another disk than the
    /// temporary folder does, and `settings` (`name=value`) win over those of the tests.
    pub fn start_tuned(
        engine: Engine,
        options: ServerOptions,
        parent: &Path,
        settings: &[&str],
    ) -> Result<Server> {
        let found = find(engine)?;
        let product = match engine {
            Engine::MySql => &MYSQL,
            Engine::Postgres | Engine::Sqlite => &POSTGRES,
        };
        let running = Running::start(product, found, options, parent, settings)?;
        Ok(Server { running, engine })
    }

    #[must_use]
    pub fn engine(&self) -> Engine {
        self.engine
    }
}

is_running!(Server);

/// A port that nobody has at this moment, below those that systems give to outgoing connections:
/// while a server is down, no client may get its port, nor reach itself there.
pub fn free_port() -> Result<u16> {
    const FIRST: u64 = 15_000;
    const COUNT: u64 = 17_000;
    for _ in 0..1000 {
        let port = FIRST + RandomState::new().hash_one(0) % COUNT;
        let port = u16::try_from(port).expect("below 32,000");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err(Error::new("no free port on 127.0.0.1"))
}

/// A password for the life of one server, so that nobody else on this machine gets in. The standard
/// library's maps are seeded by the system, which is the only randomness that it has to offer.
fn secret() -> String {
    let part = || RandomState::new().hash_one(std::process::id());
    format!("{:016x}{:016x}", part(), part())
}

/// Whether a log says this.
pub fn says(log: &Path, text: &str) -> bool {
    fs::read(log).is_ok_and(|said| String::from_utf8_lossy(&said).contains(text))
}
