//! Each matching event sets a trigger off once, from its save on.

use crate::store::probe;
use tidewire_testkit::every_engine;

use super::*;

#[every_engine]
async fn each_matching_event_behind_the_save_fires_once_and_none_before(engine: Engine) {
    let house = House::open(engine).await;
    house.append("order.created", json!(0)).await;
    let exact = house.on("order.created", json!({})).await;
    let prefix = house.on("order.*", json!({})).await;
    let all = house.on("*", json!({})).await;
    let large = house
        .on("order.*", json!({"filter": {"payload": {"$gte": 3}}}))
        .await;
    let fixed = house
        .on("order.paid", json!({"payload": {"n": 1.50}}))
        .await;
    let kinds = [
        "order.created",
        "order.paid",
        "orders",
        "order.created",
        "x",
    ];
    for (n, kind) in (1..).zip(kinds) {
        house.append(kind, json!(n)).await;
    }
    let _matcher = house.keep();
    house.append("order.paid", json!(6)).await;
    let fired = house.settled().await;
    assert_eq!(numbers(&fired, &exact), [1, 4]);
    assert_eq!(numbers(&fired, &prefix), [1, 2, 4, 6]);
    assert_eq!(numbers(&fired, &all), [1, 2, 3, 4, 5, 6]);
    assert_eq!(numbers(&fired, &large), [4, 6]);
    let own: Vec<_> = fired.iter().filter(|one| one.trigger == fixed).collect();
    assert_eq!(own.len(), 2);
    assert_eq!(own[0].payload, json!({"n": 1.50}));
    // Without a payload of its own it is the event as it is read.
    let first = fired.iter().find(|one| one.trigger == exact).unwrap();
    let event = &house.log().await[1];
    assert_eq!(first.payload, serde_json::to_value(event).unwrap());
    assert_eq!((first.depth, first.run_at), (1, house.clock.now()));
}

#[every_engine]
async fn an_execution_says_that_an_event_set_it_off(engine: Engine) {
    let house = House::open(engine).await;
    let trigger = house.on("t", json!({})).await;
    let _matcher = house.keep();
    house.append("t", json!(1)).await;
    house.fires(1).await;
    let sql = house.db.dialect().sql(probe::EXECUTIONS);
    let mut read = house.db.read();
    let rows = read.rows(&sql, Vec::new()).await.unwrap();
    assert_eq!(rows.len(), 1);
    let text = |n| rows[0].text(n).unwrap();
    assert_eq!([text(0), text(1)], [trigger, "event".to_owned()]);
    assert_eq!([text(2), text(3)], ["event", "pending"]);
    assert!(house.jobs.get(TENANT, &text(4)).await.is_ok());
}

/// Nothing is matched while all of it happens, so what counts is what each trigger was when an event
/// was stored.
#[every_engine]
async fn an_edit_counts_from_its_save_and_what_was_before_it_until_then(engine: Engine) {
    let house = House::open(engine).await;
    let both = |n: u64| [("a", json!(n)), ("b", json!(n))];
    let edited = house.on("a", json!({})).await;
    let resaved = house.on("a", json!({"payload": 1})).await;
    let rested = house.on("a", json!({})).await;
    let deleted = house.on("a", json!({})).await;
    house.append_all(both(1)).await;
    house.reconfigure(&edited, "b", json!({})).await;
    house
        .reconfigure(&resaved, "a", json!({"payload": 2}))
        .await;
    house.switch(&rested, TriggerStatus::Inactive).await;
    house.append_all(both(2)).await;
    house.switch(&rested, TriggerStatus::Active).await;
    house.reconfigure(&edited, "*", json!({})).await;
    house
        .triggers
        .delete(&house.tenant, &deleted)
        .await
        .unwrap();
    house.append_all(both(3)).await;
    let renamed = TriggerEdit {
        name: Some("other".to_owned()),
        ..TriggerEdit::default()
    };
    house.edit(&edited, renamed).await;
    let _matcher = house.keep();
    let fired = house.settled().await;
    assert_eq!(numbers(&fired, &edited), [1, 2, 3, 3]);
    let of = |id: &str| {
        let of = fired.iter().filter(|one| one.trigger == id);
        of.map(|one| one.payload.clone()).collect::<Vec<_>>()
    };
    assert_eq!(of(&resaved), [json!(1), json!(2), json!(2)]);
    assert_eq!(numbers(&fired, &rested), [3]);
    assert_eq!(numbers(&fired, &deleted), [0; 0]);
    // What triggers were is forgotten once it has been matched.
    let spans = house.db.dialect().sql(probe::SPANS);
    let spans = house.db.read().rows(&spans, Vec::new()).await.unwrap();
    assert_eq!(spans.len(), 0);
}

#[every_engine]
async fn tenants_do_not_set_each_others_triggers_off(engine: Engine) {
    let house = House::open(engine).await;
    let (a, b, none) = (house.of("a"), house.of("b"), house.of("none"));
    let of_a = a.on("t", json!({})).await;
    let of_b = b.on("t", json!({})).await;
    let _matcher = house.keep();
    for n in 0..20 {
        a.append("t", json!(n)).await;
        b.append("t", json!(100 + n)).await;
        none.append("t", json!(n)).await;
    }
    let (fired_a, fired_b) = (a.settled().await, b.settled().await);
    assert_eq!(numbers(&fired_a, &of_a), (0..20).collect::<Vec<_>>());
    assert_eq!(numbers(&fired_b, &of_b), (100..120).collect::<Vec<_>>());
    assert_eq!((fired_a.len(), fired_b.len()), (20, 20));
    // Who has no event triggers pays nothing.
    let store = &house.triggers.inner.store;
    let cursor = async |tenant| store.cursor(&mut house.db.read(), tenant).await.unwrap();
    assert!(cursor("a").await.is_some());
    assert_eq!(cursor("none").await, None);
    assert!(none.fired().await.is_empty());
}

#[every_engine(multi_thread)]
async fn a_matcher_that_is_dropped_anywhere_leaves_nothing_out_and_nothing_twice(engine: Engine) {
    let house = House::open(engine).await;
    let mut triggers = Vec::new();
    for _ in 0..5 {
        triggers.push(house.on("t", json!({})).await);
    }
    let span = 0..400u64;
    house
        .append_all(span.clone().map(|n| ("t", json!(n))))
        .await;
    let mut before = 0;
    for round in 0..40u64 {
        let matcher = house.keep();
        // Wherever it is by then.
        for _ in 0..round * 20 {
            tokio::task::yield_now().await;
        }
        drop(matcher);
        let now = house.fired().await.len();
        assert!(now >= before);
        before = now;
    }
    let _matcher = house.keep();
    let fired = house.settled().await;
    for trigger in &triggers {
        assert_eq!(numbers(&fired, trigger), span.clone().collect::<Vec<_>>());
    }
}

/// A log that ends before what was matched of it.
#[every_engine]
async fn a_log_that_was_replaced_is_followed_from_its_end(engine: Engine) {
    let house = House::open(engine).await;
    let trigger = house.on("t", json!({})).await;
    let matcher = house.keep();
    house.append_all((0..30).map(|n| ("t", json!(n)))).await;
    house.fires(30).await;
    matcher.stop().await;
    let late = house.on("t", json!({})).await;
    house.sql(probe::LOSE_EVENTS).await;
    // Its streams and heads are remembered by who writes alone: another process starts.
    let house = house.restart(engine).await;
    let _matcher = house.keep();
    eventually("the cursor goes back", || async {
        let store = &house.triggers.inner.store;
        let cursor = store.cursor(&mut house.db.read(), TENANT).await.unwrap();
        (cursor.unwrap().pos == 10).then_some(())
    })
    .await;
    house.append_all((100..103).map(|n| ("t", json!(n)))).await;
    let fired = house.settled().await;
    assert_eq!(numbers(&fired, &trigger)[30..], [100, 101, 102]);
    assert_eq!(numbers(&fired, &late), [100, 101, 102]);
}

#[every_engine]
async fn a_config_that_cannot_be_read_stops_nobody_else(engine: Engine) {
    let house = House::open(engine).await;
    let first = house.on("t", json!({})).await;
    house.on("t", json!({"payload": "spoilt"})).await;
    let last = house.on("t", json!({})).await;
    house.sql(probe::SPOIL_CONFIG).await;
    let house = house.restart(engine).await;
    let _matcher = house.keep();
    house.append_all((0..3).map(|n| ("t", json!(n)))).await;
    let fired = house.settled().await;
    assert_eq!(numbers(&fired, &first), [0, 1, 2]);
    assert_eq!(numbers(&fired, &last), [0, 1, 2]);
    assert_eq!(fired.len(), 6);
}

/// What the log takes, triggers take too, also where the store writes it out at length and where the
/// event around it is one level more.
#[every_engine]
async fn every_payload_that_the_log_takes_sets_triggers_off(engine: Engine) {
    let house = House::open(engine).await;
    let trigger = house.on("t", json!({})).await;
    let _matcher = house.keep();
    let deep = format!("{}{}", "[".repeat(64), "]".repeat(64));
    let long = format!("\"{}\"", "\u{e9}".repeat((256 << 9) - 1));
    let payloads = [
        "1e300".to_owned(),
        "{\"a\":[1e-300,-5e200]}".to_owned(),
        deep,
        long,
    ];
    for payload in &payloads {
        let payload = RawValue::from_string(payload.clone()).unwrap();
        let event = NewEvent::new("t", payload).unwrap();
        house
            .events
            .append(&house.tenant, vec![event])
            .await
            .unwrap();
    }
    let fired = house.settled().await;
    assert_eq!(fired.len(), payloads.len());
    for (payload, fired) in payloads.iter().zip(&fired) {
        assert_eq!(fired.trigger, trigger);
        let sent: Value = serde_json::from_str(payload).unwrap();
        assert_eq!(fired.payload["payload"], sent);
    }
}

/// Nor does a config that was good when it was saved become unreadable by being stored.
#[every_engine]
async fn every_config_that_was_taken_sets_triggers_off(engine: Engine) {
    let house = House::open(engine).await;
    let deep = format!("{}{}", "[".repeat(63), "]".repeat(63));
    let deep: Value = serde_json::from_str(&deep).unwrap();
    let payloads = [json!(1e300), deep, json!(vec![1; 120_000])];
    for payload in &payloads {
        let filter = json!({"payload": {"$lt": 1e300}});
        house
            .on("t", json!({"payload": payload, "filter": filter}))
            .await;
    }
    // Who saved them still knows them.
    let house = house.restart(engine).await;
    let _matcher = house.keep();
    house.append("t", json!(1)).await;
    let fired = house.settled().await;
    assert_eq!(fired.len(), payloads.len());
    for (payload, fired) in payloads.iter().zip(&fired) {
        assert_eq!(&fired.payload, payload);
    }
}

/// PostgreSQL writes exponents out: this document is three hundred times as long when it comes back.
#[every_engine(postgres)]
async fn an_event_that_cannot_be_fired_is_left_out_and_holds_nobody_up(engine: Engine) {
    let house = House::open(engine).await;
    let whole = house.on("t", json!({})).await;
    let small = house.on("t", json!({"payload": {"payload": 0}})).await;
    house.append("t", json!(1)).await;
    let payload = format!("[{}1]", "1e300,".repeat(3000));
    let payload = RawValue::from_string(payload).unwrap();
    let event = NewEvent::new("t", payload).unwrap();
    house
        .events
        .append(&house.tenant, vec![event])
        .await
        .unwrap();
    house.append("t", json!(3)).await;
    let _matcher = house.keep();
    let fired = house.settled().await;
    assert_eq!(numbers(&fired, &whole), [1, 3]);
    assert_eq!(numbers(&fired, &small), [0, 0, 0]);
}
