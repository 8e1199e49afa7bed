//! PgBouncer in transaction mode, in front of a PostgreSQL: a connection to it is lent another
//! connection to the server for each transaction.

use std::{
    net::{SocketAddr, TcpStream},
    path::Path,
    time::{Duration, Instant},
};

use crate::{
    Error, Found, Result,
    account::Account,
    address::{Login, at_address},
    find_pgbouncer,
    folder::Folder,
    guard::{Guard, Guarded, tail_of},
    server::free_port,
};

/// It starts in milliseconds; the rest is for a machine that has much else to do.
const START_WITHIN: Duration = Duration::from_secs(60);

/// A pooler of one's own. It ends when this is dropped or this process ends.
pub struct PgBouncer {
    // In this order: the guard ends the pooler before its folder goes.
    _guard: Guard,
    _folder: Folder,
    address: SocketAddr,
    found: Found,
}

impl PgBouncer {
    /// Starts one for all databases of the server with this URL, for the account in it.
    pub fn start(server: &str) -> Result<PgBouncer> {
        let found = find_pgbouncer()?;
        let login = Login::of(server, 5432)?;
        let folder = Folder::new("pgbouncer")?;
        let account = Account::to_own(folder.path(), &["postgres", "nobody"])?;
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
        let accounts = folder.write(
            "accounts",
            &format!("{} {}\n", quoted(&login.user), quoted(&login.password)),
        )?;
        let settings = folder.write("settings", &settings(&login, address, &accounts))?;
        account.give(&accounts)?;
        account.give(&settings)?;
        let log = folder.path().join("log");
        let mut guard = Guard::start(&Guarded {
            program: &found.program,
            arguments: vec![settings.display().to_string()],
            account,
            folder: folder.path(),
            log: log.clone(),
            last_signal: "TERM",
        })?;
        let deadline = Instant::now() + START_WITHIN;
        while TcpStream::connect(address).is_err() {
            let ended = guard.ended(Duration::from_millis(20)).map(str::to_owned);
            if ended.is_some() || Instant::now() > deadline {
                return Err(Error::new(format!(
                    "PgBouncer {} took no connections (status {}):\n{}",
                    found.version,
                    ended.as_deref().unwrap_or("none: it runs"),
                    tail_of(&log)
                )));
            }
        }
        Ok(PgBouncer {
            _guard: guard,
            _folder: folder,
            address,
            found,
        })
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    #[must_use]
    pub fn found(&self) -> &Found {
        &self.found
    }

    /// The way through the pooler to what this URL of the server leads to, as our configuration says
    /// it.
    #[must_use]
    pub fn url(&self, direct: &str) -> String {
        let url = at_address(direct, self.address);
        let mark = if url.contains('?') { '&' } else { '?' };
        format!("{url}{mark}pgbouncer=true")
    }
}

/// As the documentation of PgBouncer recommends for a pool by transaction, and no more: what a
/// client must leave alone behind it fails here too.
fn settings(login: &Login, address: SocketAddr, accounts: &Path) -> String {
    format!(
        "[databases]\n\
         * = host={} port={}\n\
         [pgbouncer]\n\
         listen_addr = {}\n\
         listen_port = {}\n\
         unix_socket_dir =\n\
         auth_type = md5\n\
         auth_file = {}\n\
         pool_mode = transaction\n\
         max_client_conn = 1000\n\
         default_pool_size = 20\n\
         ignore_startup_parameters = extra_float_digits\n",
        login.host,
        login.port,
        address.ip(),
        address.port(),
        accounts.display()
    )
}
