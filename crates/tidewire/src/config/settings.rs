//! The list of settings.

use super::{
    archives::from_s3_variables,
    hot_log::from_redis_variables,
    job_bus::from_kafka_variables,
    setting::{Group, Setting, address, also, or, secret, setting},
    store::from_postgres_variables,
};

/// As the image of a PostgreSQL server and programs beside it are set up.
const POSTGRES_VARIABLES: Group = Group {
    variables: &[
        ("POSTGRES_SERVER", ""),
        ("POSTGRES_PORT", "5433"),
        ("POSTGRES_DB", "eventide"),
        ("POSTGRES_USER", "eventide"),
        ("POSTGRES_PASSWORD", ""),
    ],
    join: from_postgres_variables,
};

const KAFKA_VARIABLES: Group = Group {
    variables: &[("KAFKA_BROKERS", "")],
    join: from_kafka_variables,
};

const REDIS_VARIABLES: Group = Group {
    variables: &[
        ("REDIS_HOST", ""),
        ("REDIS_PORT", "6380"),
        ("REDIS_PASSWORD", ""),
    ],
    join: from_redis_variables,
};

const S3_VARIABLES: Group = Group {
    variables: &[
        ("S3_ENDPOINT", ""),
        ("S3_BUCKET", "uploads"),
        ("S3_PREFIX", "eventide"),
    ],
    join: from_s3_variables,
};

pub const SETTINGS: &[Setting] = &[
    also(
        &["HTTP_ADDR", "PORT", "API_PORT"],
        setting(
            "addr",
            "HOST:PORT",
            "127.0.0.1:8080",
            "Where to listen. Port 0 takes a free one. `:PORT` alone means loopback while no key is set, all interfaces otherwise",
        ),
    ),
    setting(
        "data-dir",
        "FOLDER",
        "./tidewire-data",
        "The folder of the SQLite file, where no other store is named",
    ),
    or(
        &POSTGRES_VARIABLES,
        also(
            &["DATABASE_URL"],
            address(setting(
                "database-url",
                "URL",
                "",
                "The store: sqlite://PATH, postgres://USER:PASSWORD@HOST:PORT/DATABASE or mysql://… (mariadb://…). The default is tidewire.db in the data folder. docs/stores.md has the parameters and other forms",
            )),
        ),
    ),
    setting("db", "FILE", "", "Short for --database-url sqlite://FILE"),
    setting(
        "database-connections",
        "N",
        "10",
        "Connections to a PostgreSQL or MySQL server that this process has at most, 2 to 1000; one more listens for other processes",
    ),
    address(setting(
        "database-listen-url",
        "URL",
        "",
        "Where PostgreSQL is reached without a pooler, to listen there, if --database-url leads through one (pgbouncer=true)",
    )),
    or(
        &KAFKA_VARIABLES,
        setting(
            "job-bus",
            "URL",
            "database",
            "What carries the first attempts of deliveries, and tells others of what is fired: database (nothing beside the store) or kafka://HOST:PORT,…; docs/job-bus.md has the parameters. KAFKA_BROKERS is a plain list HOST:PORT,…",
        ),
    ),
    or(
        &REDIS_VARIABLES,
        address(setting(
            "hot-log",
            "URL",
            "embedded",
            "Where threads are written first: embedded (the store) or redis[s]://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE][?prefix=NAME], from where the role persister moves them to the store; docs/threads.md says what an answer is worth then",
        )),
    ),
    or(
        &S3_VARIABLES,
        setting(
            "objects",
            "URL",
            "",
            "Where archives are kept: file:///FOLDER or s3://BUCKET[/PREFIX], which no other Tidewire's database may use. The default is the folder objects in the data folder, or FILE-objects beside a SQLite file that is named",
        ),
    ),
    also(
        &["S3_ENDPOINT"],
        setting(
            "s3-endpoint",
            "URL",
            "",
            "What speaks S3, http://HOST:PORT or https://…; Amazon's own if it is not set",
        ),
    ),
    also(
        &["AWS_REGION"],
        setting("s3-region", "NAME", "us-east-1", "The bucket's region"),
    ),
    also(
        &["S3_ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID"],
        setting(
            "s3-access-key-id",
            "ID",
            "",
            "The id of the key by which the bucket is used; once S3_ENDPOINT is set, eventide if it is not",
        ),
    ),
    secret(also(
        &["S3_SECRET_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY"],
        setting(
            "s3-secret-access-key",
            "KEY",
            "",
            "The key itself; once S3_ENDPOINT is set, eventide if it is not",
        ),
    )),
    also(
        &["S3_USE_PATH_STYLE"],
        setting(
            "s3-path-style",
            "true|false",
            "true",
            "Whether the bucket is named in the path, as what is like S3 wants it, or in the host's name",
        ),
    ),
    setting(
        "archive-older-than",
        "DURATION",
        "",
        "What was stored so long ago is archived by the role archiver, such as 30d; nothing is if it is not set",
    ),
    setting(
        "archive-trim",
        "true|false",
        "false",
        "Whether what the archiver archives leaves the database then, and is read from the archives",
    ),
    setting(
        "archive-every",
        "DURATION",
        "1h",
        "How often the archiver looks for what is old enough; 10s to 30d",
    ),
    setting(
        "roles",
        "ROLE,…",
        "all",
        "What this process does: all, or some of api (the HTTP routes), worker (runs jobs and delivers), scheduler (fires triggers by the clock and for events), relay (tells the job bus), realtime (live streams of threads, without the rest of the API), persister (moves the hot log to the store), archiver (archives what is old), sweeper (retention), controller (the fleet's configuration). Health, metrics and docs are always served",
    ),
    secret(setting(
        "admin-key",
        "KEY",
        "",
        "The operator's key, with the scope `admin`. Without it the server is open, and only on a loopback address",
    )),
    secret(also(
        &["AGENT_API_KEY"],
        setting(
            "agent-api-key",
            "KEY",
            "",
            "The key that a fleet's agents show, with the scope `fleet`; two with a comma between them while one takes the other's place",
        ),
    )),
    also(
        &["CORS_ORIGINS"],
        setting(
            "cors-origins",
            "ORIGIN,…",
            "",
            "Web pages that may call the API: scheme://host[:port], or * for all",
        ),
    ),
    setting(
        "public-url",
        "URL",
        "",
        "Where the API is reached from outside, for URLs in answers such as a webhook's; as the request was sent if it is not set",
    ),
    setting(
        "allow-subnet",
        "CIDR,…",
        "",
        "Addresses that deliveries and syncs may go to besides public ones, such as 10.20.0.0/16,fd00:20::/32, or none. Loopback if it is not set and the server listens only there",
    ),
    setting(
        "max-connections",
        "N",
        "10000",
        "Open HTTP connections; more wait in the kernel's backlog",
    ),
    setting(
        "lease",
        "DURATION",
        "60s",
        "How long a claimed job is its worker's without a heartbeat; 1s to 1h",
    ),
    also(
        &["SCHEDULER_INTERVAL"],
        setting(
            "poll-interval",
            "DURATION",
            "5s",
            "How long work can stay unnoticed if every wake-up is lost; 10ms to 1m",
        ),
    ),
    setting(
        "worker-concurrency",
        "N",
        "64",
        "Jobs that this process runs at once; 1 to 10000",
    ),
    setting(
        "worker-queues",
        "QUEUE,…",
        "",
        "Queues whose jobs this process runs; all of them if it is not set",
    ),
    setting(
        "worker-name",
        "NAME",
        "",
        "How this worker signs the jobs it runs; host name and process id if it is not set",
    ),
    setting(
        "queue-limits",
        "QUEUE=N,…",
        "",
        "How many jobs of a queue may run at once, in each tenant and over all workers, for example mail=5,render=2",
    ),
    setting(
        "job-timeout",
        "DURATION",
        "1h",
        "How long one attempt may run where the job does not say; 1s to 24h",
    ),
    setting(
        "job-retry-base",
        "DURATION",
        "2s",
        "What a job waits after its first failed attempt; it doubles with each, ±20 %",
    ),
    setting(
        "job-retry-cap",
        "DURATION",
        "1h",
        "What a job waits at most between attempts",
    ),
    setting(
        "keep-done",
        "DURATION",
        "7d",
        "How long jobs that are done are kept",
    ),
    setting(
        "keep-failed",
        "DURATION",
        "7d",
        "How long jobs that failed are kept",
    ),
    setting(
        "keep-cancelled",
        "DURATION",
        "7d",
        "How long jobs that were cancelled are kept",
    ),
    setting(
        "retry-max-attempts",
        "N",
        "8",
        "Attempts after which a delivery has failed, where its trigger does not say; 1 to 100",
    ),
    setting(
        "retry-base",
        "DURATION",
        "5s",
        "What a delivery waits after its first failed attempt; it doubles with each, ±20 %",
    ),
    setting(
        "retry-cap",
        "DURATION",
        "1h",
        "What a delivery waits at most between attempts, also if the endpoint asks for more",
    ),
    setting(
        "delivery-concurrency",
        "N",
        "256",
        "Deliveries that this process has under way at once, besides other jobs; 1 to 10000",
    ),
    setting(
        "endpoint-concurrency",
        "N",
        "32",
        "Requests at once that this process sends to one endpoint; 1 to 10000",
    ),
    setting(
        "endpoint-rate",
        "N",
        "",
        "Requests a second that this process sends to one endpoint; no limit if it is not set",
    ),
    setting(
        "circuit-failures",
        "N",
        "5",
        "Failures in a row after which nothing is sent to an endpoint for a while; 1 to 1000",
    ),
    setting(
        "circuit-pause",
        "DURATION",
        "10s",
        "How long that is at first; it doubles each time that a probe fails",
    ),
    setting(
        "circuit-pause-cap",
        "DURATION",
        "5m",
        "How long it is at most",
    ),
    setting(
        "event-rate",
        "N",
        "100",
        "Firings a second of one event trigger; what comes faster waits its turn",
    ),
    setting(
        "executions-active-for",
        "DURATION",
        "2h",
        "How long an execution is listed as active, from its firing; then it is archived",
    ),
    setting(
        "executions-keep-for",
        "DURATION",
        "48h",
        "How long an execution is kept in all, with its job and its attempts",
    ),
    setting(
        "thread-idle-timeout",
        "DURATION",
        "30m",
        "A thread without an open turn is idle when nothing has come for so long; for threads made from then on",
    ),
    setting(
        "agent-affinity",
        "DURATION",
        "2s",
        "For how long a turn is kept for the agent that ran its thread's last one; 0s for nobody",
    ),
    setting(
        "agents",
        "[NAME=]local:COMMAND,…",
        "",
        "Agents that this process runs by itself: a process of the command (for sh -c) for each thread that has a turn of the agent NAME, or of none, which keeps the thread until it is idle. The command finds its key and the server in its environment: docs/agents.md. Several may be given, by repeating the flag",
    ),
    setting(
        "agents-max",
        "N",
        "16",
        "Instances of agents that this process runs at most, 1 to 10000; threads that come on top wait for one that is idle",
    ),
    setting(
        "agents-max-per-tenant",
        "N",
        "",
        "The same for each tenant; as many as --agents-max if it is not set",
    ),
    setting(
        "agents-idle-timeout",
        "DURATION",
        "5m",
        "How long an instance outlives its thread's last turn; 1s to 30d",
    ),
    setting(
        "agents-warm",
        "N",
        "0",
        "Instances of each agent that wait for threads of the default tenant, so that these need not wait for a start; 0 to 1000",
    ),
    setting(
        "agents-drain",
        "DURATION",
        "30s",
        "How long a running turn may go on when its instance must stop; at shutdown no longer than --drain leaves",
    ),
    secret(setting(
        "sites-key",
        "KEY,…",
        "",
        "What seals the access keys of sites in the store: 32 bytes in hexadecimal. The first seals, those behind it still open what they sealed. Without it one is made and kept in sites.key in the data folder; several processes of a store need the same. The dashboard's sessions are signed by what is made of it",
    )),
    setting(
        "sources",
        "FOLDER",
        "",
        "A folder of definitions (*.toml) of kinds of sites, beside builder, stripe and github, which come along; docs/sites.md has their form",
    ),
    setting(
        "sites-concurrency",
        "N",
        "32",
        "Sites that this process syncs at once, besides other jobs; 1 to 10000",
    ),
    setting(
        "sites-per-host",
        "N",
        "4",
        "Requests at once that this process sends to one host while it syncs; 1 to 10000",
    ),
    setting(
        "fleet-poll-interval",
        "DURATION",
        "15s",
        "How often the controller tells a fleet's agents to ask for their config; 1s to 1h",
    ),
    setting(
        "session-lifetime",
        "DURATION",
        "12h",
        "How long a sign-in to the dashboard lasts; 1m to 30d. What signs sessions is made of --sites-key, or of what stands for it in the data folder",
    ),
    setting(
        "drain",
        "DURATION",
        "30s",
        "What is in flight may take so long at shutdown; then it is cut, and jobs are given back",
    ),
    also(
        &["LOG_LEVEL"],
        setting(
            "log-level",
            "FILTER",
            "info",
            "error, warn, info, debug or trace, or a filter such as info,tidewire::access=warn",
        ),
    ),
    setting(
        "log-format",
        "pretty|json",
        "pretty",
        "How log lines are written, to standard error. ENVIRONMENT=production makes json the default",
    ),
];

/// A variable that is read and is no setting of the server: no flag of `serve` and no key of the
/// file stands for it.
#[derive(Debug)]
pub struct Variable {
    pub name: &'static str,
    pub default: &'static str,
    pub help: &'static str,
}

pub const OTHER_VARIABLES: &[Variable] = &[
    Variable {
        name: "TIDEWIRE_CONFIG",
        default: "",
        help: "A TOML file of settings, as --config; ./tidewire.toml is read if it exists",
    },
    Variable {
        name: "OTEL_EXPORTER_OTLP_ENDPOINT",
        default: "",
        help: "Where the server sends traces: OTLP over HTTP, such as http://127.0.0.1:4318",
    },
    Variable {
        name: "TIDEWIRE_SERVER",
        default: "http://127.0.0.1:8080",
        help: "The server that client commands ask, as --server",
    },
    Variable {
        name: "TIDEWIRE_API_KEY",
        default: "",
        help: "The key that client commands show, as --api-key",
    },
    Variable {
        name: "TIDEWIRE_TENANT",
        default: "",
        help: "The tenant that client commands act on, as --tenant",
    },
    Variable {
        name: "TIDEWIRE_OUTPUT",
        default: "table",
        help: "How client commands print: table or json, as --output",
    },
    Variable {
        name: "TIDEWIRE_GATEWAY",
        default: "",
        help: "The server that the reference agent takes turns from, as --gateway. Also read from EVENT_GATEWAY_URL",
    },
    Variable {
        name: "TIDEWIRE_AGENT",
        default: "",
        help: "The agent that the reference agent is, as --agent",
    },
    Variable {
        name: "TIDEWIRE_CONTROLLER",
        default: "http://127.0.0.1:8080",
        help: "The controller that a fleet's agent asks, as `fleet agent --controller`",
    },
    Variable {
        name: "TIDEWIRE_WORKER",
        default: "http://127.0.0.1:8083",
        help: "The worker that a fleet's agent serves, as `fleet agent --worker`",
    },
    Variable {
        name: "TIDEWIRE_STATE",
        default: "./fleet-agent.json",
        help: "Where a fleet's agent keeps what it has, as `fleet agent --state`",
    },
    Variable {
        name: "TIDEWIRE_AGENT_NAME",
        default: "",
        help: "What people call a fleet's agent, as `fleet agent --name`",
    },
    Variable {
        name: "TIDEWIRE_LABELS",
        default: "",
        help: "A fleet's agent's labels, such as region=eu,tier=1, as `fleet agent --label`",
    },
    Variable {
        name: "TIDEWIRE_MAX_BACKOFF",
        default: "60s",
        help: "What a fleet's agent waits at most between attempts, as `fleet agent --max-backoff`",
    },
    Variable {
        name: "TIDEWIRE_ANSWER_CAP",
        default: "16777216",
        help: "Bytes of an answer that a fleet's worker hands on, as `fleet worker --answer-cap`",
    },
    Variable {
        name: "TIDEWIRE_CONTROLLER_API_KEY",
        default: "",
        help: "The key that a fleet's agent shows to the controller. Also read from CONTROLLER_API_KEY",
    },
    Variable {
        name: "TIDEWIRE_WORKER_API_KEY",
        default: "",
        help: "The key that a fleet's agent shows to its worker. Also read from WORKER_API_KEY",
    },
    Variable {
        name: "TIDEWIRE_ACCESS_KEY",
        default: "",
        help: "The access key that `sites add` and `sites try` hand on, as --access-key",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_make_a_variable() {
        let mut names: Vec<_> = SETTINGS.iter().map(|setting| setting.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SETTINGS.len());
        assert_eq!(
            Setting::named("data-dir").unwrap().variable(),
            "TIDEWIRE_DATA_DIR"
        );
    }
}
