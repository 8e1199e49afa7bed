//! Several processes on one store.

use std::sync::Arc;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tidewire_core::Clock;
use tidewire_db::{Db, Error, Query as _};
use tidewire_testkit::{Answer, Engine, TestApp, TestStore, every_engine};
use tokio::sync::{Notify, Semaphore};

use crate::house::{NEVER, Tail, process};

/// As many servers as there are databases, on one store.
async fn servers(store: &TestStore, count: usize) -> Vec<TestApp> {
    let mut servers = Vec::new();
    for _ in 0..count {
        let db = store.second().await;
        servers.push(process(db, Clock::system(), NEVER).await.0);
    }
    servers
}

async fn tail(app: &TestApp, tenant: &str) -> Tail {
    let request = app.request(Method::GET, "/v1/events/tail?after=0");
    Tail::of(request.header("x-tenant", tenant)).await
}

async fn post(app: &TestApp, tenant: &str, body: Value) -> Answer {
    let request = app.request(Method::POST, "/v1/events");
    TestApp::send(request.header("x-tenant", tenant).json(&body)).await
}

/// The poll interval is a day here: what a follower sees it was told, or asked for since nobody
/// tells it.
#[every_engine(servers, multi_thread)]
async fn followers_see_what_any_process_appends(engine: Engine) {
    let store = TestStore::on(engine, tidewire_events::MIGRATIONS).await;
    let servers = servers(&store, 3).await;
    let mut tails = Vec::new();
    for app in &servers {
        for _ in 0..4 {
            tails.push(tail(app, "acme").await);
        }
    }
    let mut sent = 0;
    // One at a time, so that a wake-up that is not sent is not made up for by the next.
    for round in 0..10 {
        let app = &servers[round % servers.len()];
        post(app, "acme", json!({"type": "t", "payload": sent}))
            .await
            .expect(201);
        for tail in &mut tails {
            assert_eq!(tail.numbers(1).await, [sent]);
        }
        sent += 1;
    }
    // And all at once.
    let mut writers = Vec::new();
    let servers = Arc::new(servers);
    for writer in 0..6 {
        let servers = Arc::clone(&servers);
        writers.push(tokio::spawn(async move {
            for _ in 0..50 {
                let app = &servers[writer % servers.len()];
                post(app, "acme", json!({"type": "t", "payload": 0}))
                    .await
                    .expect(201);
            }
        }));
    }
    for tail in &mut tails {
        for pos in sent + 1..=sent + 300 {
            assert_eq!(tail.next().await.0, pos.to_string());
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
}

/// A transaction of somebody else that holds the lock of a tenant's log until it is told to end.
struct Held {
    release: Arc<Notify>,
    holder: tokio::task::JoinHandle<Result<(), Error>>,
}

impl Held {
    async fn lock(db: Db, tenant: &str) -> Self {
        let text = format!(
            "SELECT name FROM write_locks WHERE name = 'events/{tenant}'{}",
            db.dialect().lock()
        );
        let sql = db.dialect().sql(&text);
        let (release, has) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
        let holder = tokio::spawn({
            let (release, has) = (Arc::clone(&release), Arc::clone(&has));
            async move {
                db.transact("holder", move |tx| {
                    let (sql, release) = (sql.clone(), Arc::clone(&release));
                    let has = Arc::clone(&has);
                    Box::pin(async move {
                        assert_eq!(tx.rows(&sql, Vec::new()).await?.len(), 1);
                        has.add_permits(1);
                        release.notified().await;
                        Ok(())
                    })
                })
                .await
            }
        });
        has.acquire().await.unwrap().forget();
        Held { release, holder }
    }

    async fn release(self) {
        self.release.notify_one();
        self.holder.await.unwrap().unwrap();
    }
}

#[every_engine(servers, multi_thread)]
async fn appends_queue_behind_a_transaction_held_open_and_only_their_tenants(engine: Engine) {
    let store = TestStore::on(engine, tidewire_events::MIGRATIONS).await;
    let servers = servers(&store, 2).await;
    let mut tails = Vec::new();
    for tenant in ["held", "free"] {
        post(&servers[0], tenant, json!({"type": "t", "payload": 0}))
            .await
            .expect(201);
        for app in &servers {
            let mut tail = tail(app, tenant).await;
            assert_eq!(tail.numbers(1).await, [0]);
            tails.push(tail);
        }
    }
    let (free, held) = (tails.split_off(2), tails);
    let holder = Held::lock(store.second().await, "held").await;
    // While some wait in vain, everything else goes on, in both processes.
    let waits = async {
        let body = || json!({"type": "t", "payload": "refused"});
        let answers = (0..5).map(|_| post(&servers[0], "held", body()));
        for answer in join_all(answers).await {
            let answer = answer.expect(503);
            assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
        }
    };
    let others = async {
        let mut free = free;
        for n in 1..=20 {
            let app = &servers[n % 2];
            post(app, "free", json!({"type": "t", "payload": n}))
                .await
                .expect(201);
            for tail in &mut free {
                assert_eq!(tail.numbers(1).await, [n as u64]);
            }
        }
    };
    tokio::join!(waits, others);
    // Those who queue in either process are let through when the lock is free. The followers, who
    // were there all the time, miss nothing and see nothing of what was refused.
    let queue = (0..8).map(|n| post(&servers[n % 2], "held", json!({"type": "t", "payload": 1})));
    let let_go = async {
        // Most have come to the lock by then, and some may find it free: both are right.
        for app in &servers {
            post(app, "free", json!({"type": "t"})).await.expect(201);
        }
        holder.release().await;
    };
    let (queued, ()) = tokio::join!(join_all(queue), let_go);
    for answer in queued {
        answer.expect(201);
    }
    for mut tail in held {
        for pos in 2..=9 {
            let (id, event) = tail.next().await;
            assert_eq!((id, &event["payload"]), (pos.to_string(), &json!(1)));
        }
    }
}
