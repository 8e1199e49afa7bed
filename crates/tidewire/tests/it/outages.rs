//! The store's server goes away under load, in each of its ways, and comes back: clients are told to
//! come back, everything resumes by itself, nothing that was acknowledged is lost or doubled, and
//! memory stays bounded.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use reqwest::Method;
use serde_json::json;
use tidewire_client::{Client, Retry, TailQuery};
use tidewire_db::{Db, Options, Query as _};
use tidewire_testkit::{
    Engine, Proxy, TestApp, eventually, every_engine,
    servers::{self, Database, ServerOptions, at_address},
};
use tokio::{
    sync::{oneshot, watch},
    task::JoinSet,
};

use crate::{
    load::{Load, Notes, Patience},
    support::{House, Server, assert_problem, full},
};

/// What each fault is survived by: a load that is told to come back at most, and goes on.
struct Scene {
    server: Server,
    notes: Arc<Notes>,
    load: Load,
    followed: watch::Receiver<Vec<String>>,
}

impl Scene {
    /// A server of ours under load, with somebody who follows its log.
    async fn begin(house: &House) -> Scene {
        let server = house
            .with(&[
                "--lease",
                "2s",
                "--poll-interval",
                "200ms",
                "--job-retry-base",
                "10ms",
            ])
            .start();
        let notes = Arc::new(Notes::default());
        let load = Load::start(&[&server], &notes, Patience::Endless);
        let followed = follow(&server);
        load.told(50).await;
        Scene {
            server,
            notes,
            load,
            followed,
        }
    }

    /// Everybody gets on again, and by themselves.
    async fn resumes(&self) {
        self.load.goes_on(100).await;
        eventually("health comes back", || async {
            (self.server.get("/health").await.status == 200).then_some(())
        })
        .await;
    }

    /// Clients were told to come back, since it had been this often.
    async fn was_refused_since(&self, before: usize) {
        eventually("clients are told to come back", || async {
            (self.load.refused() > before).then_some(())
        })
        .await;
    }

    /// The store against what everybody wrote down.
    async fn end(mut self) {
        self.load.ended().await;
        let notes = &self.notes;
        notes.send_again(&self.server).await;
        let hand = Load::complete(&[&self.server], notes);
        eventually("every job is done", || async {
            let jobs = self.server.list("/v1/jobs", "jobs").await;
            let done = jobs.iter().all(|job| job["status"] == "done");
            done.then_some(())
        })
        .await;
        hand.ended().await;
        notes.hold_against(&self.server).await;
        let mut stored: Vec<_> = self
            .server
            .list("/v1/events", "events")
            .await
            .iter()
            .map(|event| event["id"].as_str().expect("an id").to_owned())
            .collect();
        stored.reverse();
        let all = |followed: &Vec<String>| followed.len() >= stored.len();
        let followed = tokio::time::timeout(crate::support::PATIENCE, self.followed.wait_for(all));
        let followed = followed.await.expect("the follower sees all");
        assert_eq!(*followed.expect("it does not fail"), stored);
        self.server.stop().await;
    }
}

/// The ids that somebody has seen who follows the log from its start.
fn follow(server: &Server) -> watch::Receiver<Vec<String>> {
    let client = Client::builder(&server.url()).retry(Retry::patient());
    let client = client.build().expect("a client");
    let from_the_start = TailQuery {
        after: Some("0".to_owned()),
        ..TailQuery::default()
    };
    let mut tail = client.events().tail(from_the_start);
    let (seen, followed) = watch::channel(Vec::new());
    tokio::spawn(async move {
        while let Some(next) = tail.next().await {
            let id = next.expect("it connects again").event.id;
            seen.send_modify(|seen| seen.push(id));
        }
    });
    followed
}

#[every_engine(servers, multi_thread)]
async fn a_server_that_restarts_under_load_costs_nothing_that_was_acknowledged(engine: Engine) {
    let store = servers::Server::start(engine, ServerOptions::default()).await;
    let database = Database::create(engine, store.url()).await;
    let scene = Scene::begin(&House::with_database(database)).await;
    let rounds = if full() { 5 } else { 1 };
    for _ in 0..rounds {
        let before = scene.load.refused();
        store.stop().await;
        scene.was_refused_since(before).await;
        let health = scene.server.get("/health").await.expect(503).json();
        assert_ne!(health["checks"]["store"], "ok", "{health}");
        store.start_again().await;
        scene.resumes().await;

        store.kill().await;
        scene.was_refused_since(scene.load.refused()).await;
        store.start_again().await;
        scene.resumes().await;
    }
    scene.end().await;
}

#[every_engine(servers, multi_thread)]
async fn connections_that_are_cut_cost_nothing_that_was_acknowledged(engine: Engine) {
    let (house, mut proxy) = behind_a_proxy(engine).await;
    let scene = Scene::begin(&house).await;
    let rounds = if full() { 100 } else { 8 };
    for _ in 0..rounds {
        // Another moment of some transaction each time.
        scene.load.goes_on(20).await;
        proxy.cut();
    }
    proxy.refuse().await;
    proxy.cut();
    scene.was_refused_since(scene.load.refused()).await;
    proxy.accept().await;
    scene.resumes().await;
    scene.end().await;
}

#[every_engine(servers, multi_thread)]
async fn a_network_that_hangs_is_waited_for_and_not_for_ever(engine: Engine) {
    let (house, proxy) = behind_a_proxy(engine).await;
    let scene = Scene::begin(&house).await;
    let rounds = if full() { 4 } else { 1 };
    for _ in 0..rounds {
        // Shortly: nobody notices but by waiting.
        proxy.pause();
        scene.server.get("/metrics").await.expect(200);
        proxy.resume();
        scene.load.goes_on(100).await;
        // For so long that clients are sent away.
        let before = scene.load.refused();
        proxy.pause();
        scene.was_refused_since(before).await;
        scene.server.get("/health").await.expect(503);
        proxy.resume();
        scene.resumes().await;
    }
    scene.end().await;
}

/// A house whose way to its store can be cut.
async fn behind_a_proxy(engine: Engine) -> (House, Proxy) {
    let house = House::on(engine).await;
    let url = house.database_url();
    let proxy = Proxy::start(servers::address(&url)).await;
    let through = house.with(&["--database-url", &at_address(&url, proxy.address())]);
    (through, proxy)
}

#[every_engine(servers, multi_thread)]
async fn a_row_that_somebody_holds_exhausts_the_connections_and_lets_them_go(engine: Engine) {
    let house = House::on(engine).await;
    let server = house
        .with(&["--roles", "api", "--database-connections", "4"])
        .start();
    let job = json!({"type": "by.hand"});
    let job = server.post("/v1/jobs", &job).await.expect(201).json();
    let id = job["id"].as_str().expect("an id").to_owned();
    let (release, held) = hold_job(&house, &id).await;

    // Each of them waits for the row with a connection in its hand, or for a connection.
    let mut cancels = JoinSet::new();
    for _ in 0..16 {
        let request = server.request(Method::POST, &format!("/v1/jobs/{id}/cancel"));
        cancels.spawn(TestApp::send(request.json(&json!({}))));
    }
    // More than there are connections.
    for _ in 0..8 {
        let answer = cancels.join_next().await.expect("there are more");
        assert_problem(&answer.expect("no panic").expect(503));
    }
    // Whoever wants something else is served, as soon as there is a connection.
    eventually("others are served", || async {
        let answer = server.get("/v1/events").await;
        (answer.status == 200).then_some(())
    })
    .await;
    drop(release);
    held.await.expect("no panic");
    let mut cancelled = false;
    while let Some(answer) = cancels.join_next().await {
        let answer = answer.expect("no panic");
        match answer.status {
            200 => cancelled = true,
            _ => assert_problem(&answer),
        }
    }
    let path = format!("/v1/jobs/{id}");
    let job = server.get(&path).await.expect(200).json();
    let is = if cancelled { "cancelled" } else { "pending" };
    assert_eq!(job["status"], is, "{job}");
    let job = server.post("/v1/jobs", &json!({"type": "by.hand"})).await;
    let id = job.expect(201).json()["id"].clone();
    let path = format!("/v1/jobs/{}/cancel", id.as_str().expect("an id"));
    server.post(&path, &json!({})).await.expect(200);
    server.stop().await;
}

/// Locks a job's row from outside until the sender is dropped.
async fn hold_job(house: &House, id: &str) -> (oneshot::Sender<()>, tokio::task::JoinHandle<()>) {
    let url = house.database_url().parse().expect("a store's URL");
    let db = Db::open(Options::new(url)).await.expect("the store opens");
    let (holds, held) = oneshot::channel();
    let (release, released) = oneshot::channel::<()>();
    let sql = db.dialect().sql(&format!(
        "SELECT id FROM jobs WHERE id = ?{}",
        db.dialect().lock()
    ));
    let once = Arc::new(std::sync::Mutex::new(Some((holds, released))));
    let id = id.to_owned();
    let holding = tokio::spawn(async move {
        // Longer than anybody waits for a row, on a machine that is busy with other tests too.
        let transaction = db.transact_within(crate::support::PATIENCE, "test.hold", move |tx| {
            let (sql, id, once) = (sql.clone(), id.clone(), Arc::clone(&once));
            Box::pin(async move {
                let rows = tx.rows(&sql, vec![id.into()]).await?;
                assert_eq!(rows.len(), 1);
                let taken = once.lock().expect("nobody panics with it").take();
                if let Some((holds, released)) = taken {
                    let _ = holds.send(());
                    // Dropped, it is released too.
                    let _ = released.await;
                }
                Ok::<_, tidewire_db::Error>(())
            })
        });
        transaction
            .await
            .expect("it is held for as long as it is wanted");
        db.close().await;
    });
    held.await.expect("the row is held");
    (release, holding)
}

/// What bounds memory is before any engine: one stands for all.
#[every_engine(postgres, multi_thread)]
async fn a_flood_that_meets_a_dead_store_is_turned_away_within_bounds(engine: Engine) {
    const CLIENTS: usize = 200;
    /// Of what a client has in flight.
    const BODY: usize = 64 * 1024;
    let (house, mut proxy) = behind_a_proxy(engine).await;
    let server = house.start();
    server
        .post("/v1/events", &json!({"type": "before"}))
        .await
        .expect(201);
    let before = resident(&server);
    // First it is silent, then it is gone.
    proxy.pause();
    let answered = Arc::new(AtomicUsize::new(0));
    let refused = Arc::new(AtomicUsize::new(0));
    let (stop, stopped) = watch::channel(false);
    let mut flood = JoinSet::new();
    for client in 0..CLIENTS {
        let text = "x".repeat(BODY);
        let event = json!({"type": "flood", "subject": client.to_string(), "payload": text});
        let job = json!({"type": "by.hand", "payload": text});
        let requests = [("/v1/events", event), ("/v1/jobs", job)]
            .map(|(path, body)| server.request(Method::POST, path).json(&body));
        let (answered, refused) = (Arc::clone(&answered), Arc::clone(&refused));
        let stopped = stopped.clone();
        flood.spawn(async move {
            for request in requests.iter().cycle() {
                if *stopped.borrow() {
                    return;
                }
                let request = request.try_clone().expect("its body is in memory");
                let answer = TestApp::send(request).await;
                answered.fetch_add(1, Ordering::Relaxed);
                if answer.status == 503 {
                    assert_problem(&answer);
                    refused.fetch_add(1, Ordering::Relaxed);
                } else {
                    answer.expect(201);
                }
            }
        });
    }
    let most = AtomicUsize::new(before);
    let watch = async |count: usize| {
        eventually("the flood is turned away", || async {
            most.fetch_max(resident(&server), Ordering::Relaxed);
            (refused.load(Ordering::Relaxed) >= count).then_some(())
        })
        .await;
    };
    let enough = if full() { 50 * CLIENTS } else { 5 * CLIENTS };
    // All of them, or as soon as the first gives up.
    watch(if full() { CLIENTS } else { 1 }).await;
    proxy.refuse().await;
    proxy.cut();
    watch(enough).await;
    // What all clients have in flight, several times over, and what it takes to answer them.
    let most = most.into_inner();
    let bound = before + 8 * CLIENTS * BODY + (128 << 20);
    assert!(most < bound, "{most} bytes, {before} before");

    proxy.accept().await;
    proxy.resume();
    let before = answered.load(Ordering::Relaxed) - refused.load(Ordering::Relaxed);
    eventually("the flood is served", || async {
        let stored = answered.load(Ordering::Relaxed) - refused.load(Ordering::Relaxed);
        (stored > before + CLIENTS).then_some(())
    })
    .await;
    stop.send_replace(true);
    while let Some(ended) = flood.join_next().await {
        ended.expect("a client does not fail");
    }
    server.stop().await;
}

/// The bytes of memory that a server has at this moment.
fn resident(server: &Server) -> usize {
    let path = format!("/proc/{}/status", server.pid().as_raw_nonzero());
    let status = std::fs::read_to_string(path).expect("the server runs, on Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kilobytes
        .and_then(|number| number.trim().parse::<usize>().ok())
        .expect("a number of kilobytes")
        * 1024
}

#[every_engine(servers)]
async fn a_server_that_is_away_is_said_at_the_start_without_its_password(engine: Engine) {
    let (house, mut proxy) = behind_a_proxy(engine).await;
    proxy.refuse().await;
    let ended = house.refused().expect(1);
    let url = house.database_url();
    let password = url
        .split_once("://")
        .and_then(|(_, rest)| rest.split_once('@'))
        .and_then(|(account, _)| account.split_once(':'))
        .map(|(_, password)| password.to_owned());
    let line = ended.error();
    let place = proxy.address().to_string();
    assert!(
        line.contains(&place) && line.contains("--database-url"),
        "{line}"
    );
    if let Some(password) = password {
        assert!(!line.contains(&password), "{line}");
    }
    // One that is there and does not know us says so.
    let stranger = house
        .database_url()
        .replacen("://", "://stranger:hunter2@", 1);
    let (scheme, rest) = stranger.split_once("hunter2@").expect("it was put there");
    let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
    let stranger = format!("{scheme}hunter2@{place}");
    let ended = house
        .with(&["--database-url", &stranger])
        .refused()
        .expect(1);
    let line = ended.error();
    assert!(
        line.contains("stranger") && !line.contains("hunter2"),
        "{line}"
    );
}
