//! `tidewire serve` and `tidewire migrate`: the commands that open the store themselves.

use super::{Fault, listening::say, output::Printer, settings::Flags};
use crate::{
    config::{Bad, Config, unknown_variables},
    logging::Logging,
    server::{self, Ready},
};

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tidewire serve
  tidewire serve --addr :8080 --admin-key \"$(openssl rand -hex 32)\" --log-format json
  tidewire serve --roles api,worker --data-dir /var/lib/tidewire

`tidewire config env` documents every setting; `tidewire config check` checks them.")]
pub(super) struct Serve {
    #[command(flatten)]
    flags: Flags,
}

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tidewire migrate --database-url postgres://tidewire@127.0.0.1/tidewire
  tidewire migrate --check && echo up to date

Several processes may do it at once: one migrates, the others wait.")]
pub(super) struct Migrate {
    /// Change nothing; exit status 1 and the list if migrations are pending
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    flags: Flags,
}

impl From<Bad> for Fault {
    fn from(bad: Bad) -> Self {
        Fault::Config(bad.to_string())
    }
}

pub(super) fn serve(args: &Serve) -> Result<(), Fault> {
    let config = Config::new(&args.flags.values()?)?;
    let _logging = Logging::start(&config.log).map_err(Fault::Config)?;
    for name in
        unknown_variables(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()))
    {
        tracing::warn!(
            name,
            "this variable is no setting and has no effect: see `tidewire config env`"
        );
    }
    raise_open_files();
    let welcome = Welcome::of(&config);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Fault::Failed(format!("cannot start threads: {error}")))?;
    let served = runtime.block_on(async {
        let stop = server::signalled();
        server::run(config, stop, |ready| welcome.say(&ready)).await
    });
    served.map_err(Fault::Failed)
}

pub(super) fn migrate(args: &Migrate, printer: Printer) -> Result<(), Fault> {
    let config = Config::new(&args.flags.values()?)?;
    let _logging = Logging::start(&config.log).map_err(Fault::Config)?;
    let data = config.store.shown();
    if args.check {
        return check(&config, &data, printer);
    }
    let report = super::block_on(server::migrate(&config))?.map_err(Fault::Failed)?;
    if printer.is_json() {
        let report = serde_json::json!({ "store": data, "applied": report.applied, "already": report.already });
        return printer.json(&report);
    }
    let text = match report.applied.as_slice() {
        [] => format!("{data} is up to date: {} migrations", report.already),
        applied => format!("{data}: applied {}", applied.join(", ")),
    };
    printer.line(&text)
}

fn check(config: &Config, data: &str, printer: Printer) -> Result<(), Fault> {
    let pending = super::block_on(server::pending(config))?.map_err(Fault::Failed)?;
    if printer.is_json() {
        printer.json(&serde_json::json!({ "store": data, "pending": pending }))?;
    } else if pending.is_empty() {
        printer.line(&format!("{data} is up to date"))?;
    } else {
        printer.line(&format!("{data}: pending {}", pending.join(", ")))?;
    }
    if pending.is_empty() {
        return Ok(());
    }
    Err(Fault::Told)
}

/// What a person is told once the server answers.
struct Welcome {
    data: String,
    objects: String,
    roles: String,
    open: bool,
}

impl Welcome {
    fn of(config: &Config) -> Self {
        Welcome {
            data: config.store.shown(),
            objects: config.archives.objects.to_string(),
            roles: config.roles.to_string(),
            open: config.access.open,
        }
    }

    fn say(&self, ready: &Ready) {
        let address = ready.address;
        // An address that means "all" cannot be called; this machine is one of them.
        let call = if address.ip().is_unspecified() {
            format!("http://127.0.0.1:{}", address.port())
        } else {
            format!("http://{address}")
        };
        let state = if ready.is_new { "new" } else { "as it was" };
        let (access, key, flag) = if self.open {
            (
                "open to this machine, because no --admin-key is set",
                "",
                "",
            )
        } else {
            (
                "by key only",
                " -H \"authorization: Bearer $KEY\"",
                " --api-key \"$KEY\"",
            )
        };
        let server = if call == super::SERVER {
            String::new()
        } else {
            format!(" --server {call}")
        };
        let text = format!(
            "listening on http://{address}
  data    {} ({state})
  objects {}
  roles   {}
  access  {access}

try
  curl {call}/v1/events{key} --json '{{\"type\": \"hello\"}}'
  curl {call}/v1/jobs{key} --json '{{\"type\": \"echo\", \"payload\": [1, 2, 3]}}'
  {} events tail --after 0{server}{flag}
  open {call}/ in a browser
",
            self.data,
            self.objects,
            self.roles,
            called_as()
        );
        tracing::info!(%address, data = self.data, roles = self.roles, "listening");
        say(&text);
    }
}

/// What the person typed to get here: after `cargo run` the program is on nobody's path.
pub(super) fn called_as() -> String {
    std::env::args_os()
        .next()
        .and_then(|name| name.into_string().ok())
        .filter(|name| !name.contains(char::is_whitespace))
        .unwrap_or_else(|| "tidewire".to_owned())
}

/// Each connection is an open file, and shells allow 1,024: take what the system allows.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}
