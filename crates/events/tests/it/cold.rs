//! Reading when a part of the log has left the store. The tier behind it is a shelf in memory here;
//! the one that is shipped has tests of its own.

use std::sync::{Arc, Mutex};

use futures_util::{FutureExt as _, future::BoxFuture};
use serde_json::{Value, json};
use tidewire_core::Clock;
use tidewire_db::Result;
use tidewire_events::{Between, Cold, ColdRange, Event, Events, Filter, Order, Stretch};
use tidewire_testkit::{Engine, TestStore, every_engine};

use crate::house::{House, NEVER, Tail, list, process_with};

#[derive(Default)]
struct Shelf {
    events: Mutex<Vec<Event>>,
    /// Looks at no more than so many events at once.
    breath: Option<usize>,
}

impl Shelf {
    fn look(
        &self,
        place: fn(&Event) -> u64,
        (after, before): Between,
        order: Order,
        most: Stretch,
        wants: impl Fn(&Event) -> bool,
    ) -> Cold {
        let mut events = self.events.lock().unwrap().clone();
        events.retain(|event| after < place(event) && place(event) < before);
        events.sort_by_key(place);
        if order == Order::NewestFirst {
            events.reverse();
        }
        let mut looked = None;
        if let Some(breath) = self.breath
            && events.len() > breath
        {
            events.truncate(breath);
            looked = events.last().map(place);
        }
        events.retain(wants);
        if events.len() > most.events as usize {
            events.truncate(most.events as usize);
            looked = events.last().map(place);
        }
        Cold { events, looked }
    }
}

impl ColdRange for Shelf {
    fn of_stream<'a>(
        &'a self,
        (_, stream): (&'a str, &'a str),
        subject: Option<&'a str>,
        between: Between,
        most: Stretch,
    ) -> BoxFuture<'a, Result<Cold>> {
        async move {
            let of_it = |event: &Event| {
                event.stream == stream
                    && subject.is_none_or(|subject| event.subject.as_deref() == Some(subject))
            };
            let mine = Shelf {
                events: Mutex::new(self.events.lock().unwrap().clone()),
                breath: self.breath,
            };
            mine.events
                .lock()
                .unwrap()
                .retain(|event| event.stream == stream);
            Ok(mine.look(|event| event.seq, between, Order::Log, most, of_it))
        }
        .boxed()
    }

    fn of_log<'a>(
        &'a self,
        _: &'a str,
        filter: &'a Filter,
        between: Between,
        order: Order,
        most: Stretch,
    ) -> BoxFuture<'a, Result<Cold>> {
        async move {
            Ok(self.look(
                |event| event.pos,
                between,
                order,
                most,
                |event| filter.wants(event),
            ))
        }
        .boxed()
    }
}

struct Tiered {
    house: House,
    shelf: Arc<Shelf>,
}

const ALL: Stretch = Stretch {
    events: u32::MAX,
    bytes: usize::MAX,
};

/// 120 events, of three streams that come in turns, of two types, about ten subjects.
async fn filled(engine: Engine, breath: Option<usize>) -> Tiered {
    let store =
        TestStore::on_with_clock(engine, tidewire_events::MIGRATIONS, Clock::system()).await;
    let shelf = Arc::new(Shelf {
        breath,
        ..Shelf::default()
    });
    let cold: Arc<dyn ColdRange> = shelf.clone();
    let (app, events) =
        process_with(store.db.clone(), store.clock.clone(), NEVER, Some(cold)).await;
    let house = House { app, events, store };
    let event = |n: u64| {
        json!({
            "type": if n.is_multiple_of(7) { "rare" } else { "usual" },
            "stream": format!("s{}", n % 3), "subject": format!("u{}", n % 10), "source": "test",
            "dedupe_key": format!("k{n}"), "payload": n,
        })
    };
    for start in [0, 60] {
        let some: Vec<_> = (start..start + 60).map(event).collect();
        house.append(Value::Array(some)).await;
    }
    Tiered { house, shelf }
}

impl Tiered {
    fn events(&self) -> &Events {
        &self.house.events
    }

    /// Puts a stream's events up to a `seq` on the shelf, and takes them out of the store.
    async fn trim(&self, stream: &str, until: u64) -> u64 {
        let of = ("acme", stream);
        let run = self.events().of_stream(of, None, (0, until), ALL).await;
        self.shelf
            .events
            .lock()
            .unwrap()
            .extend(run.unwrap().events);
        let mut trimmed = 0;
        loop {
            match self.events().trim(of, until, 7).await.unwrap() {
                0 => return trimmed,
                some => trimmed += some,
            }
        }
    }

    /// Everything that a client can read, in every way.
    async fn everything(&self) -> Vec<Vec<Value>> {
        let app = &self.house.app;
        let mut seen = Vec::new();
        for query in [
            "",
            "type=rare",
            "stream=s1",
            "subject=u4",
            "source=test&type=usual",
            "stream=s2&type=rare",
            "from=2020-01-01T00:00:00Z",
        ] {
            seen.push(list(app, query).await);
            seen.push(pages_of(self, query, 7).await);
        }
        for (query, count) in [
            ("?after=0", 120),
            ("?after=0&stream=s1", 40),
            ("?after=0&type=rare", 18),
        ] {
            let mut tail = Tail::open(app, query, None).await;
            let mut frames = Vec::new();
            for _ in 0..count {
                let (id, event) = tail.next().await;
                frames.push(json!([id, event]));
            }
            seen.push(frames);
        }
        for event in list(app, "").await {
            let path = format!("/v1/events/{}", event["id"].as_str().unwrap());
            seen.push(vec![app.get(&path).await.expect(200).json()]);
        }
        let shown = |events: Vec<Event>| {
            let shown = events
                .iter()
                .map(|event| serde_json::to_value(event).unwrap());
            shown.collect::<Vec<_>>()
        };
        for subject in [None, Some("u4")] {
            let run = self
                .events()
                .of_stream(("acme", "s1"), subject, (3, 33), ALL)
                .await;
            seen.push(shown(run.unwrap().events));
        }
        let few = Stretch { events: 50, ..ALL };
        for pos in [0, 17, 100] {
            seen.push(shown(self.events().after("acme", pos, few).await.unwrap()));
        }
        seen
    }
}

async fn pages_of(tiered: &Tiered, query: &str, limit: u32) -> Vec<Value> {
    let (mut events, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/events?limit={limit}&{query}{cursor}");
        let page = tiered.house.app.get(&path).await.expect(200).json();
        let some = page["events"].as_array().unwrap();
        assert!(some.len() <= limit as usize);
        events.extend(some.iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return events,
        }
    }
}

#[every_engine(multi_thread)]
async fn nobody_can_tell_what_has_gone_cold(engine: Engine) {
    for breath in [None, Some(5)] {
        let tiered = filled(engine, breath).await;
        let before = tiered.everything().await;
        assert_eq!(tiered.trim("s1", 17).await, 17);
        assert!(before == tiered.everything().await, "a part of one stream");
        assert_eq!(tiered.trim("s0", 40).await, 39, "its last event stays");
        assert_eq!(tiered.trim("s1", 30).await, 13);
        assert_eq!(tiered.trim("s2", 1000).await, 39);
        assert!(before == tiered.everything().await, "nearly all");

        // What is gone is known by its key, and numbers go on where they were.
        let again = json!({"type": "usual", "stream": "s0", "dedupe_key": "k0"});
        let again = tiered.house.append(again).await;
        assert_eq!(
            (&again["duplicated"], &again["seq"]),
            (&json!(true), &json!(1))
        );
        let next = json!({"type": "usual", "stream": "s0"});
        assert_eq!(tiered.house.append(next).await["seq"], 41);
    }
}

#[every_engine]
async fn what_is_put_back_is_as_it_was(engine: Engine) {
    let tiered = filled(engine, None).await;
    let before = tiered.everything().await;
    tiered.trim("s1", 30).await;
    let kept = std::mem::take(&mut *tiered.shelf.events.lock().unwrap());
    let put_back = async |events: &[Event]| {
        let (inner, events) = (tiered.events().clone(), Arc::new(events.to_vec()));
        let db = &tiered.house.store.db;
        db.transact("test", move |tx| {
            let (inner, events) = (inner.clone(), Arc::clone(&events));
            Box::pin(async move { inner.put_back_in(tx, "acme", &events).await })
        })
        .await
        .unwrap()
    };
    put_back(&kept[20..]).await;
    // Those that are there are left alone.
    put_back(&kept).await;
    assert!(before == tiered.everything().await);
    let row = |event: &Event| (event.pos, event.seq, event.depth, event.dedupe_key.clone());
    let back = tiered
        .events()
        .of_stream(("acme", "s1"), None, (0, 30), ALL)
        .await;
    let back: Vec<_> = back.unwrap().events.iter().map(row).collect();
    assert_eq!(back, kept.iter().map(row).collect::<Vec<_>>());
}
