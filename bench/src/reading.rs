//! What the figures cannot say by themselves: who is compared with whom, and on what terms.

use crate::args::Store;

pub fn compared(store: Store) -> &'static str {
    match store {
        Store::Sqlite => SQLITE,
        Store::Postgres => POSTGRES,
    }
}

const SQLITE: &str = "\
- **limit**: for single appends and SSE, axum in front of a group commit into Tidewire's tables and indexes, without
  validation, tenants, dedupe answers or logs, its subscribers sharing the bytes of a whole commit; for batches and
  jobs, SQLite alone in one thread, without HTTP. An event carries about 200 bytes of JSON. Over HTTP the group commit
  may put several batches into one transaction, which the bare limit does not do.
- **durable-streams** (Electric's server, `--durability wal`, its default): an append is answered after the group
  commit of its write-ahead log was synced. It keeps bytes: no ids, no types, no queries or indexes, no dedupe by key
  (producers number their requests instead), so it has no rows where dedupe keys count. Its subscribers may get several
  events in one frame.
- **durable-streams-server** (another author, `file-durable`): one fdatasync an append under the stream's lock, no
  group commit; otherwise as above. Its caps on stored bytes were lifted.
- **riverqueue** (River's Rust client): a library, so its jobs are inserted in-process and pay for no HTTP. River's own
  bench program speaks PostgreSQL only; this one drives the unmodified client with the same worker settings (2,000
  workers, fetch cooldown 2 ms, poll 20 ms) on SQLite with WAL, synchronous=FULL, wal_autocheckpoint 10000 and a pool
  of 5, as its README shows. It has no log, no leases for workers in other languages and no HTTP.
- **Schedules** are Tidewire's own account of itself, in one process. What is fired is a no-op job, so that no endpoint
  is in the way. *Fired* is `fired_at` of the execution after the due time; *its job started* is `started_at` of its job,
  which comes after the firing's commit. A run in which any trigger was not fired exactly once for each of its times has
  no figure.
- **Deliveries** go to an endpoint that is a process of its own, one thread that answers an empty 200. *Limit* is the
  load generator posting there what Tidewire posted, byte for byte but for host, id and time, over as many connections
  as Tidewire has requests under way to one endpoint: without a store, and signing nothing anew; *with hyper* through the
  HTTP library that Tidewire uses, otherwise as bytes. Generator and endpoint, or Tidewire and endpoint, share the
  cores; a CPU second is that of whoever posts. *Answer stored* runs from the sending
  of the event to `finished_at` of its delivery, *received* to the endpoint's own clock.
- **Threads**: single events of about 150 bytes, `message.delta` of a turn, the same bytes for everybody, each sent when
  the one before was answered. *Appends*: 64 agents at once, a connection and a thread each. *append→subscriber*: from the
  generator's clock before the sending to the same clock when a subscriber has the event, one thread of the generator
  reading for all of them in turn; a run in which any subscriber missed an event or had one twice has no figure. *KiB an
  idle subscriber*, in the notes, is what the server's memory grew by from no subscriber to 5,000 that had had a few
  events each and then nothing for a second; what the kernel keeps of their sockets is not in it.
  - *Tidewire* as shipped, its threads kept in SQLite, followed by server-sent events.
    *Hot log in Redis*: the same with `--hot-log redis://…`, Redis set up as it is for itself below; the memory and the CPU
    time are Tidewire's alone.
  - *durable-streams* keeps a stream for each thread, followed by server-sent events too.
  - *NATS JetStream*: a stream in files for each thread, which is several times faster than one for all, as a stream
    syncs one message at a time (`sync_interval: always`; by default it acknowledges first and syncs every two minutes).
    Its plain rows give every subscriber a push consumer of its own, without acknowledgements, as an ordered consumer is: it
    begins where the reader left off, as a subscription to a thread does, and the server keeps its place. *Republished* are
    plain subscriptions, to which the stream hands each message once it is stored: cheaper, without history, and who
    missed a message has to notice and read it elsewhere. A stream allows a thousand consumers unless it says otherwise;
    here it does.
  - *Redis Streams*: XADD and, for each subscriber, XREAD that blocks and is asked again after every answer, with the
    append-only file synced before each answer (`appendfsync always`; by default it is once a second), without
    pipelining. It keeps everything in memory besides.
  - Neither NATS, Redis nor durable-streams checks events, knows turns or ends them.
- **Archives**: one thread, filled once; its lines are those of its archive. *MB of lines* a second is from the start of the
  archiver's job to its end, which is after the object was read back and sealed. *Limit* is the bare compression of the same
  lines from a file in the page cache to nowhere, on one core: by the program `gzip -6`, and by the library and level that
  Tidewire uses. A *page* is asked for from a random place, in the archive with nothing of it in memory at first.
- **Fleet**: *a config that has not changed* is a conditional GET that is answered with 304; the limit is an axum handler that
  compares the tag and does nothing else. *From a change*: 10,000 agents, each registered, each with a connection of its
  own over which it holds a question open and asks again behind each answer; from the generator's clock before the change is
  sent to the same clock when an agent has it, one thread of the generator reading for all of them in turn. *etcd*: as many
  watches of one key, each over a connection of its own by etcd's JSON gateway, which is how a program without gRPC watches;
  a client with gRPC would put many watches on one connection. etcd tells every watcher alike, knows no agents, and hears
  nothing of what became of a change.
- **Agents in Pods**: a private kube-apiserver on etcd with one node that KWOK plays, all on the same machine; an operator with a thousand
  threads. *First turns*: nothing is there, and each thread's turn brings an AgentThread, a Secret and a Pod, which the generator puts on the node;
  in the Pod's place it claims the turn with the Pod's key and ends it at once. *Later turns* find their Pods. The rate is from the first turn's
  request to the last turn's end; the generator, the API server, etcd and KWOK take their share of the same cores. *Requests* are
  counted by the API server (`apiserver_request_total`), without those of the scheduler and the kubelet.
";

const POSTGRES: &str = "\
One private PostgreSQL on the same machine for everybody: `fsync` and `synchronous_commit` on, shared buffers of 1 GB,
`max_wal_size` 4 GB so that checkpoints fall between contenders, everything else as installed. Each contender has a fresh
database, whose texts sort by bytes. PostgreSQL's own CPU time and memory are in nobody's figures: the columns *a CPU
second* and *MiB* are those of the contender's process. Jobs and events carry about 200 bytes of JSON.

- **Tidewire** is asked over HTTP, one thing a request where nothing else is said, and its built-in worker runs the jobs.
  `POST /v1/jobs` takes one job; there is no bulk enqueue over HTTP to compare with the libraries'.
- **limit**: bare SQL over prepared statements from the load generator itself, without HTTP. *Jobs*: one table with the
  index of the queue's order; a round over one connection is one transaction that completes what was claimed before and
  claims the next batch with SKIP LOCKED, their payloads included. *Enqueue* and *appends*: one INSERT from UNNEST a batch, appends into Tidewire's tables and
  indexes over one connection, since a log has one order, with the look-up of duplicates where there are keys. Where
  Tidewire takes one thing a request, what as many callers wait for is written together, up to 1,000 in a statement.
- **riverqueue** (River's Rust client) and **River (Go)**, River's own: libraries, driven with the settings of their own
  bench programs (2,000 workers, fetch cooldown 2 ms, poll 20 ms; the Rust one with its pool of 50 connections).
- **graphile-worker**: its own performance test's settings (24 at a time, a local queue of 500, completion batched with
  a delay of 0; a backlog is worked by four processes), on Node 24. Its backlog is also worked by two processes with a
  local queue of 5,000, the fastest that was found here. Finished jobs are deleted, where everybody else here keeps them.
- **dlt**: its REST source into its PostgreSQL destination, merged by the orders' ids, which is as much as a dedupe key
  does; the time is `pipeline.run` alone, without Python's start.
- **pg-boss**: two workers that fetch and complete 2,000 at a time, a partition of its own for the queue, and NOTIFY
  where jobs come one by one, on Node 24. Its documentation names no settings for speed; these were the best found here.

The peers insert in-process, and pay for no HTTP. Their bulk insert is the fastest that their documentation names. Their
time from enqueueing to start runs from the call of their insert to the first line of the handler; Tidewire's from the
sending of the request to the job in the hands of a worker that holds a long poll open in another process. The built-in
worker's times, from `created_at` to `started_at`, are Tidewire's own account of itself, and are compared with nobody's.

Schedules run in four processes: two workers, one of them with the API, and two schedulers, one of which is killed
(`kill -9`) halfway: 100 ms after the due time of those that are due at one second, half a minute into the minute of the
others. What is fired is a no-op job. *Fired* is `fired_at` of the execution after the due time; *its job started* is
`started_at` of its job, which comes after the firing's commit. A run in which any trigger was not fired exactly once for
each of its times has no figure.

Deliveries come from one process and go to an endpoint that is a process of its own, one thread that answers an empty
200. *Limit* is the load generator posting there what Tidewire posted, byte for byte but for host, id and time, over as
many connections as Tidewire has requests under way to one endpoint: without a store, and signing nothing anew;
*with hyper* through the HTTP library that Tidewire uses, otherwise as bytes. *Answer stored* runs from the sending of the event to `finished_at` of its delivery, *received* to the endpoint's own clock.

Threads are run only when they are asked for, as on SQLite, where it says what is compared; Tidewire keeps them in
PostgreSQL, its peers in files of their own.
";
