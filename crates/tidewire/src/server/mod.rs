//! The composition root: makes every part, wires them, runs them, and takes them down again.

pub(crate) mod agents;
mod archives;
mod bus;
mod dashboard;
mod fleet;
mod hot;
mod signals;
mod tasks;

use std::{
    collections::BTreeMap, future::Future, net::SocketAddr, path::Path, sync::Arc, time::Duration,
};

use tidewire_access::{AccessConfig, Authenticate};
use tidewire_archive::Archives;
use tidewire_core::Clock;
use tidewire_db::{Db, Migration, MigrationReport, Options};
use tidewire_events::Events;
use tidewire_fleet::Fleet;
use tidewire_http::{App, Health};
use tidewire_jobs::{Followers, JobSettings, Jobs, bus::JobBus};
use tidewire_outbound::{Client, ClientOptions};
use tidewire_sites::Sites;
use tidewire_threads::{Rooms, Threads, Turns};
use tidewire_triggers::{Executions, Triggers};
use tokio::{net::TcpListener, sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    config::{Config, Role, Values},
    sharing::{self, Sharing},
    supervisor::Supervisor,
};

pub use signals::signalled;

/// Every room's migrations, in the order in which they were made.
#[must_use]
pub fn migrations() -> Vec<Migration> {
    [
        tidewire_access::MIGRATIONS,
        tidewire_events::MIGRATIONS,
        tidewire_jobs::MIGRATIONS,
        tidewire_triggers::MIGRATIONS,
        tidewire_threads::MIGRATIONS,
        tidewire_archive::MIGRATIONS,
        tidewire_sites::MIGRATIONS,
        tidewire_fleet::MIGRATIONS,
    ]
    .concat()
}

/// Opens the store and brings its schema up to date.
pub async fn migrate(config: &Config) -> Result<MigrationReport, String> {
    let clock = Clock::system();
    let db = open(config).await?;
    let report = db
        .migrate(&migrations(), &clock)
        .await
        .map_err(|error| error.to_string())?;
    db.close().await;
    Ok(report)
}

/// The migrations that [`migrate`] would apply. Changes nothing.
pub async fn pending(config: &Config) -> Result<Vec<&'static str>, String> {
    let pending = Db::pending_in(options(config), &migrations()).await;
    pending.map_err(|error| error.to_string())
}

fn options(config: &Config) -> Options {
    let mut options = Options::new(config.store.url.clone());
    options.connections = config.store.connections;
    options.listen_url.clone_from(&config.store.listen_url);
    options
}

async fn open(config: &Config) -> Result<Db, String> {
    let db = Db::open(options(config)).await;
    db.map_err(|error| error.to_string())
}

/// A scheduler that is late by less may have a lot to do, and is no reason to alarm anybody.
const SCHEDULER_PATIENCE: Duration = Duration::from_secs(30);

/// What capabilities share in this process.
struct House {
    db: Db,
    clock: Clock,
    sharing: Sharing,
    access: tidewire_access::Service,
    /// By which this process asks its own API.
    own_key: Option<String>,
    events: Events,
    jobs: Jobs,
    triggers: Triggers,
    threads: Threads,
    archives: Archives,
    sites: Sites,
    fleet: Fleet,
    job_settings: watch::Sender<JobSettings>,
    /// For addresses that somebody configured.
    outbound: Client,
    /// How workers hear of deliveries, and others of what is fired.
    bus: Arc<dyn JobBus>,
    health: Health,
    /// What this process made of the schema.
    migrated: MigrationReport,
    /// Ends endless streams and long polls, so that draining does not wait for them.
    streams: CancellationToken,
}

/// What is known once the server answers.
pub struct Ready {
    pub address: SocketAddr,
    /// The store was empty before.
    pub is_new: bool,
}

/// Runs the server until `stop` is done, then drains. `ready` is told when it answers.
pub async fn run(
    config: Config,
    stop: impl Future<Output = ()>,
    ready: impl FnOnce(Ready),
) -> Result<(), String> {
    let house = House::build(&config).await?;
    let listener = TcpListener::bind(config.addr).await.map_err(|error| {
        format!("cannot listen on {}: {error}: choose another address with --addr, or port 0 for a free one", config.addr)
    })?;
    house.run(config, listener, stop, ready).await
}

/// The same on a socket that is bound already; `config.addr` is its address.
pub async fn run_on(
    listener: TcpListener,
    config: Config,
    stop: impl Future<Output = ()>,
    ready: impl FnOnce(Ready),
) -> Result<(), String> {
    let house = House::build(&config).await?;
    house.run(config, listener, stop, ready).await
}

impl House {
    async fn build(config: &Config) -> Result<Self, String> {
        let clock = Clock::system();
        let db = open(config).await?;
        tidewire_http::metrics::install();
        describe_metrics();
        metrics::gauge!("tidewire_build_info", "version" => env!("TIDEWIRE_VERSION")).set(1.0);
        let sharing = Sharing::begin(db.clone(), clock.clone()).await?;
        let migrated = db
            .migrate(&migrations(), &clock)
            .await
            .map_err(|error| error.to_string())?;
        let streams = CancellationToken::new();
        let own_key = agents::own_key(config);
        let keys = AccessConfig {
            own_key: own_key.clone(),
            ..config.access.clone()
        };
        let access = tidewire_access::Service::new(db.clone(), clock.clone(), &keys);
        access.start().await.map_err(|error| error.to_string())?;
        let settings = tidewire_events::Settings {
            poll_interval: config.poll_interval,
            reserved: &[tidewire_threads::NAMESPACE, tidewire_sites::NAMESPACE],
        };
        let (objects, reader) = archives::open(&db, &config.archives)?;
        let cold = Some(Arc::new(reader.clone()) as _);
        let events = Events::with_cold(db.clone(), clock.clone(), settings, cold, streams.clone());
        // Live settings: the fleet changes them.
        let (job_settings, settings) = watch::channel(job_settings(config));
        let turns = Turns::default();
        let followers = Followers::default()
            .with(tidewire_threads::FOLLOWER, turns.clone())
            .with(
                tidewire_triggers::FOLLOWER,
                Executions::new(&db, clock.clone()),
            )
            .owning(tidewire_triggers::DISPATCH)
            .owning(tidewire_archive::VERIFY);
        let jobs = Jobs::new(
            db.clone(),
            clock.clone(),
            settings,
            followers,
            streams.clone(),
        );
        let triggers = Triggers::new(
            db.clone(),
            clock.clone(),
            config.triggers.settings,
            config.triggers.policy.clone(),
            (jobs.clone(), events.clone()),
        );
        let rooms = Rooms {
            db: db.clone(),
            clock: clock.clone(),
            events: events.clone(),
            jobs: jobs.clone(),
        };
        let fleet = fleet::open(&db, &clock, config, &streams);
        let hot = hot::open(&config.hot_log, &streams);
        let threads = Threads::with_hot_log(rooms, config.threads, hot, streams.clone());
        turns.write_to(&threads);
        let archives = Archives::new(
            tidewire_archive::Rooms {
                db: db.clone(),
                clock: clock.clone(),
                access: access.clone(),
                events: events.clone(),
                jobs: jobs.clone(),
                threads: threads.clone(),
            },
            objects,
            reader,
            config.archives.settings,
            streams.clone(),
        );
        let outbound = Client::new(ClientOptions {
            policy: config.triggers.policy.clone(),
            ..ClientOptions::default()
        })
        .map_err(|error| error.to_string())?;
        let rooms = tidewire_sites::Rooms {
            db: db.clone(),
            clock: clock.clone(),
            events: events.clone(),
            jobs: jobs.clone(),
            outbound: outbound.clone(),
        };
        let sites = Sites::new(
            rooms,
            config.sites.settings,
            config.sites.sources.clone(),
            config.sites.keys.clone(),
            streams.clone(),
        );
        let bus = bus::open(&config.job_bus);
        let health = Health::new();
        // The API alone writes to the outbox, whether anybody empties it or not.
        if bus.is_apart() && (config.roles.has(Role::Relay) || config.roles.has(Role::Worker)) {
            bus::register(&health, &bus);
        }
        hot::register(&health, &threads, config.roles.has(Role::Persister));
        archives::register(&health, &archives);
        register_store(&health, &db);
        sharing.tell(&health);
        if config.roles.has(Role::Scheduler) {
            register_scheduler(&health, &triggers, &clock, config.poll_interval);
        }
        Ok(House {
            db,
            clock,
            sharing,
            access,
            own_key,
            events,
            jobs,
            triggers,
            threads,
            archives,
            sites,
            fleet,
            job_settings,
            outbound,
            bus,
            health,
            migrated,
            streams,
        })
    }

    async fn run(
        self,
        config: Config,
        listener: TcpListener,
        stop: impl Future<Output = ()>,
        ready: impl FnOnce(Ready),
    ) -> Result<(), String> {
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let api = self
            .app(&config)
            .build()
            .map_err(|error| format!("the API cannot be described: {error}"))?;
        let callers = self.callers(&config, address)?;
        let mut supervisor = Supervisor::start(self.tasks(&config, listener, api));
        let mut callers = Supervisor::start(callers);
        self.health.set_ready(true);
        ready(Ready {
            address,
            is_new: self.migrated.already == 0,
        });
        let result = tokio::select! {
            () = stop => {
                tracing::info!(drain = ?config.drain, "stopping");
                Ok(())
            }
            role = supervisor.failed() => Err(gave_up(role)),
            role = callers.failed() => Err(gave_up(role)),
        };
        self.health.set_ready(false);
        let began = Instant::now();
        // What asks this process ends while it is answered as ever.
        callers.stop(agents::share(config.drain)).await;
        self.streams.cancel();
        supervisor
            .stop(config.drain.saturating_sub(began.elapsed()))
            .await;
        self.db.close().await;
        tracing::info!("stopped");
        result
    }

    /// The HTTP surface of the roles that this process has.
    fn app(&self, config: &Config) -> App {
        let settings = tidewire_http::Config {
            clock: self.clock.clone(),
            loopback_hosts_only: config.access.open,
            cors_origins: config.cors_origins.clone(),
            secret_routes: tidewire_triggers::SECRET_ROUTES,
            ..tidewire_http::Config::default()
        };
        let mut app =
            App::new(settings, self.health.clone()).public(dashboard::routes(self, config));
        let (api, live) = (Role::Api, Role::Realtime);
        if config.roles.has(api) {
            app = self.routes(app, config);
        }
        if config.roles.has(Role::Controller) {
            let public_url = config.triggers.public_url.clone();
            app = app.routes(tidewire_fleet::routes(self.fleet.clone(), public_url));
        }
        if config.roles.has(api) || config.roles.has(live) {
            app = app.routes(tidewire_threads::live_routes(self.threads.clone()));
        }
        if config.roles.serve_callers() {
            let authenticate = Authenticate::new(self.access.clone());
            app = app.authenticate(move |router| router.layer(authenticate));
        }
        app
    }

    /// Every capability's routes.
    fn routes(&self, app: App, config: &Config) -> App {
        let request_keys = self.access.request_keys().clone();
        app.routes(tidewire_access::routes(self.access.clone()))
            .routes(tidewire_events::routes(self.events.clone()))
            .routes(tidewire_jobs::routes(
                self.jobs.clone(),
                request_keys,
                self.events.clone(),
            ))
            .routes(tidewire_triggers::routes(
                self.triggers.clone(),
                self.access.clone(),
                config.triggers.public_url.clone(),
            ))
            .routes(tidewire_threads::routes(
                self.threads.clone(),
                self.access.clone(),
            ))
            .routes(tidewire_archive::routes(self.archives.clone()))
            .routes(tidewire_sites::routes(self.sites.clone()))
            .public(tidewire_triggers::public_routes(
                self.triggers.clone(),
                self.access.clone(),
            ))
    }
}

fn gave_up(role: &str) -> String {
    format!("the role {role} keeps failing: the log says why")
}

fn job_settings(config: &Config) -> JobSettings {
    let jobs = config.jobs.clone();
    JobSettings {
        queue_limits: jobs.queue_limits,
        lease: jobs.lease,
        poll_interval: config.poll_interval,
        backoff: jobs.backoff,
        timeout: jobs.timeout,
        keep_done: jobs.keep_done,
        keep_failed: jobs.keep_failed,
        keep_cancelled: jobs.keep_cancelled,
    }
}

/// `/health` says whether the store answers and whether it takes writes.
fn register_store(health: &Health, db: &Db) {
    let reads = db.clone();
    health.register("store", move || {
        let db = reads.clone();
        async move { db.ping().await.map_err(|_| "does not answer".to_owned()) }
    });
    let writes = db.clone();
    health.register("store_writes", move || {
        let db = writes.clone();
        async move {
            db.ping_writer()
                .await
                .map_err(|_| "takes no writes: the log says why".to_owned())
        }
    });
}

/// `/health` says whether triggers fire by the clock, how late they are, and how many events have
/// still to be matched.
fn register_scheduler(health: &Health, triggers: &Triggers, clock: &Clock, poll: Duration) {
    let patience = SCHEDULER_PATIENCE.max(poll * 3);
    let (of, at, began) = (triggers.clone(), clock.clone(), clock.now());
    health.register("scheduler", move || {
        let (now, scheduler) = (at.now(), of.scheduler_health());
        // Right after the start it has not looked yet.
        let begins = scheduler.looked_at.is_none() && now.since(began) < patience;
        let checked = if begins {
            Ok(())
        } else {
            scheduler.check(now, patience)
        };
        async move { checked }
    });
    let (of, at) = (triggers.clone(), clock.clone());
    health.tell("scheduler_lag", move || {
        let late = of.scheduler_health().late(at.now());
        format!("{:.3} s", late.as_secs_f64())
    });
    let of = triggers.clone();
    health.tell("events_unmatched", move || of.events_behind().to_string());
}

/// The description of the whole API, as `/openapi.json` serves it.
pub async fn openapi_document() -> Result<String, String> {
    // Routes hold their services, and those a store: an empty one will do.
    let folder = tempfile::TempDir::new()
        .map_err(|error| format!("cannot make a temporary folder: {error}"))?;
    let database = [("db", folder.path().join("openapi.db").display().to_string())];
    let values = Values::gather(
        &BTreeMap::from(database),
        |_| None,
        Some(Path::new("/dev/null")),
    );
    let config = values
        .and_then(|values| Config::new(&values))
        .map_err(|bad| bad.to_string())?;
    let house = House::build(&config).await?;
    let document = house
        .app(&config)
        .openapi()
        .to_pretty_json()
        .map_err(|error| error.to_string());
    house.db.close().await;
    document
}

/// HELP texts of the metrics that rooms make.
fn describe_metrics() {
    metrics::describe_gauge!("tidewire_build_info", "1; the version is its label");
    tidewire_db::describe_metrics();
    tidewire_events::describe_metrics();
    tidewire_jobs::describe_metrics();
    tidewire_triggers::describe_metrics();
    tidewire_threads::describe_metrics();
    tidewire_archive::describe_metrics();
    tidewire_sites::describe_metrics();
    tidewire_fleet::describe_metrics();
    tidewire_operator::describe_metrics();
    tidewire_outbound::describe_metrics();
    tidewire_redis::describe_metrics();
    bus::describe_metrics();
    sharing::describe_metrics();
}
