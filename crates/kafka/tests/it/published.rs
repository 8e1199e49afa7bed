//! What those hear who are not Tidewire.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
};
use serde_json::{Value, json};
use tidewire_core::{Clock, Time};
use tidewire_db::BoxFuture;
use tidewire_jobs::bus::{BusError, Feed, JobBus, Message, Sent};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    house::{House, TENANT},
    listener::hear,
};

pub async fn a_firing_is_published_in_the_contracts_shape(mut house: House) {
    house.relay();
    let trigger = house.trigger("t").await;
    let payload = r#"{"b": 1.50, "a": [null, "ü"]}"#;
    let fired = house.fire(&trigger, payload).await;
    let settings = house.bus.settings().clone();
    let event = hear(&settings, &settings.events_topic, 1).await.remove(0);
    let execution = house
        .process
        .triggers
        .execution(TENANT, &fired.execution_id)
        .await
        .unwrap();
    assert_eq!(event.key, *trigger);
    assert_eq!(event.header, None);
    assert_eq!(
        event.value,
        json!({
            "event_id": fired.execution_id,
            "trigger_id": &*trigger,
            "type": "webhook",
            "payload": {"b": 1.5, "a": [null, "ü"]},
            "fired_at": serde_json::to_value(execution.fired_at).unwrap(),
            "source": "webhook",
        })
    );
    let keys = event.value.as_object().unwrap();
    assert_eq!(keys.len(), 6, "{}", event.text);
    assert!(
        event.text.contains("1.50"),
        "a number keeps its digits: {}",
        event.text
    );
    let word = hear(&settings, &settings.jobs_topic, 1).await.remove(0);
    assert_eq!(word.key, *trigger);
    let job = house.job(&fired.job_id).await;
    assert_eq!(
        word.value,
        json!({
            "job_id": fired.job_id,
            "tenant": TENANT,
            "run_at": serde_json::to_value(job.run_at).unwrap(),
            "execution_id": fired.execution_id,
            "trigger_id": &*trigger,
        })
    );
    // A test of a trigger is told as one.
    let test = house
        .process
        .triggers
        .test(&house.tenant, &trigger, None, 0);
    let test = test.await.unwrap();
    let heard = hear(&settings, &settings.events_topic, 2).await;
    assert_eq!(heard[1].value["event_id"], test.execution_id);
    assert_eq!(heard[1].value["source"], "manual-test");
    house.stop().await;
}

pub async fn firings_of_a_trigger_are_published_in_order(mut house: House) {
    const TRIGGERS: usize = 6;
    const FIRINGS: usize = 40;
    // Three relays, in two processes where there can be two.
    let second = house.second().await;
    house.relay();
    house.relay();
    house.relay_of(&second);
    let mut triggers = Vec::new();
    for n in 0..TRIGGERS {
        triggers.push(house.trigger(&format!("t{n}")).await);
    }
    let all = futures_util::future::join_all(triggers.iter().map(|trigger| async {
        let mut fired = Vec::new();
        for n in 0..FIRINGS {
            fired.push(house.fire(trigger, &n.to_string()).await.execution_id);
        }
        fired
    }))
    .await;
    house.all_told().await;
    let settings = house.bus.settings().clone();
    let heard = hear(&settings, &settings.events_topic, TRIGGERS * FIRINGS).await;
    let mut by_trigger: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for event in &heard {
        let told = by_trigger.entry(&event.key).or_default();
        if !told.contains(&&event.value["event_id"]) {
            told.push(&event.value["event_id"]);
        }
    }
    for (trigger, fired) in triggers.iter().zip(&all) {
        assert_eq!(&by_trigger[&**trigger], &fired.iter().collect::<Vec<_>>());
    }
    house.stop().await;
}

/// Makes a topic that takes small messages only.
async fn small_topic(brokers: &str, topic: &str) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .create()
        .unwrap();
    let new = NewTopic::new(topic, 1, TopicReplication::Fixed(1)).set("max.message.bytes", "4096");
    let made = admin.create_topics([&new], &AdminOptions::new()).await;
    made.unwrap().remove(0).unwrap();
}

pub async fn what_is_too_large_holds_nothing_up(mut house: House) {
    let settings = house.bus.settings().clone();
    small_topic(&settings.brokers, &settings.events_topic).await;
    let trigger = house.trigger("t").await;
    let large = format!("\"{}\"", "x".repeat(10_000));
    let before = house.fire(&trigger, "1").await;
    let fired = house.fire(&trigger, &large).await;
    let after = house.fire(&trigger, "2").await;
    house.relay();
    house.work("w1");
    house.all_told().await;
    let heard = hear(&settings, &settings.events_topic, 3).await;
    let of = |id: &str| {
        heard
            .iter()
            .find(|event| event.value["event_id"] == *id)
            .unwrap()
    };
    assert_eq!(of(&before.execution_id).value["payload"], 1);
    assert_eq!(of(&after.execution_id).value["payload"], 2);
    let bare = of(&fired.execution_id);
    assert_eq!(bare.value["payload"], Value::Null);
    let omitted = ("tidewire-payload".to_owned(), "omitted".to_owned());
    assert_eq!(bare.header, Some(omitted));
    // It is delivered like any other.
    house.all_done(&[before, fired, after]).await;
    house.stop().await;
}

/// Takes messages and never says that they are written.
struct Stuck(Arc<Notify>);

impl JobBus for Stuck {
    fn name(&self) -> &'static str {
        "stuck"
    }

    fn is_apart(&self) -> bool {
        true
    }

    fn publish<'a>(&'a self, _: &'a [Message]) -> BoxFuture<'a, Result<Vec<Sent>, BusError>> {
        self.0.notify_one();
        Box::pin(std::future::pending())
    }

    fn subscribe(&self) -> Result<Box<dyn Feed>, BusError> {
        Err(BusError::new("nothing is heard here"))
    }

    fn check(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(std::future::pending())
    }
}

pub async fn what_a_dead_relay_had_in_hand_is_told_by_another(house: House) {
    let clock = Clock::fake(Time::from_millis(1_700_000_000_000));
    let mut house = House::open(house.engine, house.bus.clone(), clock).await;
    let trigger = house.trigger("t").await;
    let fired = house.fire(&trigger, "1").await;
    let taken = Arc::new(Notify::new());
    let (triggers, stuck) = (
        house.process.triggers.clone(),
        Arc::new(Stuck(Arc::clone(&taken))),
    );
    let dies = tokio::spawn(async move {
        triggers
            .keep_relaying(stuck, CancellationToken::new())
            .await;
    });
    taken.notified().await;
    dies.abort();
    assert!(dies.await.unwrap_err().is_cancelled());
    // Nobody else tells of its shard for a while.
    house.relay();
    let other = house.trigger("other").await;
    let mut others = vec![house.fire(&other, "2").await];
    // Each firing wakes the relay; with less and less of them it is done with all, however slow it is.
    let mut pause = Duration::from_millis(20);
    while house.outbox().await > 1 {
        others.push(house.fire(&other, "2").await);
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    let settings = house.bus.settings().clone();
    let heard = hear(&settings, &settings.events_topic, others.len()).await;
    assert!(heard.iter().all(|event| event.key == *other));
    assert_eq!(house.outbox().await, 1);
    house.clock.advance(Duration::from_mins(1));
    house.fire(&other, "3").await;
    house.all_told().await;
    let heard = hear(&settings, &settings.events_topic, others.len() + 2).await;
    let told = heard.iter().filter(|event| event.key == *trigger);
    let told: Vec<_> = told.map(|event| &event.value["event_id"]).collect();
    assert_eq!(told, [&Value::from(fired.execution_id)]);
    house.stop().await;
}
