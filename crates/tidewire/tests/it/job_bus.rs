//! The job bus, by its setting alone: what is fired is told to Kafka, and delivered by way of it.

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::json;
use tidewire_testkit::{Engine, eventually, every_engine, servers};
use tokio::task::spawn_blocking;

use crate::support::{House, Server};

/// A bus with topics and a group of its own.
async fn bus() -> Option<String> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let brokers = servers::kafka().await?;
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("it{}-{number}", std::process::id());
    Some(format!(
        "kafka://{brokers}?group={name}&jobs-topic={name}-jobs&events-topic={name}-events&partitions=2"
    ))
}

async fn start(house: House) -> Server {
    spawn_blocking(move || house.start())
        .await
        .expect("it starts")
}

/// The value of a metric, with its labels as they are written.
async fn metric(server: &Server, name: &str) -> f64 {
    let text = server.get("/metrics").await.expect(200).text;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.map_or(0.0, |value| value.trim().parse().expect("a number"))
}

/// Fires a trigger whose endpoint is the API itself; its job's id.
async fn fire(server: &Server, trigger: &str) -> String {
    let path = format!("/v1/webhook/{trigger}");
    let answer = server.post(&path, &json!({"type": "delivered"})).await;
    let answer = answer.expect(202).json();
    answer["job_id"].as_str().expect("a job").to_owned()
}

async fn trigger(server: &Server) -> String {
    let endpoint = format!("{}/v1/events", server.url());
    let new = json!({"name": "t", "type": "webhook", "config": {"endpoint": endpoint}});
    let made = server.post("/v1/triggers", &new).await.expect(201).json();
    made["id"].as_str().expect("a trigger").to_owned()
}

#[every_engine(sqlite, postgres, multi_thread)]
async fn what_is_fired_goes_by_way_of_kafka(engine: Engine) {
    let Some(bus) = bus().await else { return };
    let house = House::on(engine).await.with(&["--job-bus", &bus]);
    let api = match engine {
        Engine::Sqlite => vec![start(house).await],
        _ => {
            let mut servers = Vec::new();
            for roles in ["api", "relay", "worker"] {
                servers.push(start(house.with(&["--roles", roles])).await);
            }
            servers
        }
    };
    let (first, last) = (&api[0], &api[api.len() - 1]);
    let relay = &api[api.len() / 2];
    let trigger = trigger(first).await;
    eventually(
        "a worker takes a delivery by the word of the bus",
        || async {
            let job = fire(first, &trigger).await;
            eventually("it is delivered", || async {
                let job = first.get(&format!("/v1/jobs/{job}")).await.expect(200);
                (job.json()["status"] == "done").then_some(())
            })
            .await;
            let claimed = "tidewire_job_bus_consumed_total{outcome=\"claimed\"}";
            (metric(last, claimed).await >= 1.0).then_some(())
        },
    )
    .await;
    eventually("all is published", || async {
        (metric(relay, "tidewire_outbox_depth").await == 0.0).then_some(())
    })
    .await;
    let fired = metric(first, "tidewire_trigger_firings_total").await;
    let published = "tidewire_relay_published_total{topic=\"events\"}";
    assert!(metric(relay, published).await >= fired);
    for server in [relay, last] {
        let health = server.get("/health").await.expect(200).json();
        assert_eq!(health["checks"]["job_bus"], "ok", "{health}");
    }
    let alone = first.get("/health").await.expect(200).json();
    let tells = !alone["checks"]["job_bus"].is_null();
    assert_eq!(tells, engine == Engine::Sqlite, "{alone}");
}

#[test]
fn a_cluster_that_cannot_be_is_refused_before_anything_starts() {
    let house = House::new().with(&["--job-bus", "kafka://broker"]);
    let refused = house.refused().expect(64);
    let said = refused.error();
    assert!(
        said.contains("--job-bus") && said.contains("kafka://broker"),
        "{said}"
    );
}
