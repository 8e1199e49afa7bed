//! Where users came from.
//!
//! A touch is an event of a user that has a `utm_source`. The latest one, by the events' own times and
//! not by their arrival, is carried by every event of the user that a sync stores from then on. One
//! without a `utm_source` is no touch: it takes nothing away. `direct` is a source like others, so that
//! what was direct is not filled by a later ad.
//!
//! A touch that arrives late, for a time before events that are stored already, corrects them: each
//! that was attributed to an earlier touch, or to none, is followed by one of the type `….corrected`,
//! which has all it had, the touch that it should have had, and the next version. The log itself is
//! never changed. Touches and the events that carry them are written under one lock, so that each sees
//! all of the other that came before.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use tidewire_core::Time;
use tidewire_db::{Error as DbError, Result as DbResult, Tx};
use tidewire_events::{Append, Event, Events, Filter, NewEvent};

use crate::{NAMESPACE, SOURCE, metrics, model::Touch, sync::broken};

/// The type of an event that corrects one of another type.
const CORRECTED: &str = ".corrected";
/// Events of a subject that are looked through for those that a late touch corrects.
const MOST: usize = 5_000;
const PAGE: u32 = 500;

/// What an event that carries an attribution says.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Carried<'c> {
    pub site_id: &'c str,
    pub resource: &'c str,
    pub record: &'c RawValue,
    pub utm_source: Option<&'c str>,
    /// The time of the touch that says so.
    pub attributed_at: Option<Time>,
}

/// The same of an event that carries none.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Plain<'c> {
    site_id: &'c str,
    resource: &'c str,
    record: &'c RawValue,
}

impl<'c> Carried<'c> {
    pub fn plain(&self) -> Plain<'c> {
        Plain {
            site_id: self.site_id,
            resource: self.resource,
            record: self.record,
        }
    }
}

/// A stored event that carries an attribution, or corrects one that does.
#[derive(Debug, Deserialize)]
struct Stored {
    site_id: String,
    resource: String,
    record: Box<RawValue>,
    #[serde(default)]
    attributed_at: Option<Time>,
    #[serde(default)]
    corrects: Option<String>,
    #[serde(default)]
    version: Option<u64>,
}

/// What the next version of an event says.
#[derive(Serialize)]
struct Correction<'c> {
    corrects: &'c str,
    version: u64,
    #[serde(flatten)]
    carried: Carried<'c>,
}

/// From here to the end of the transaction nobody else writes touches of this tenant, or events that
/// carry them. Comes before the log's own lock.
pub(crate) async fn lock(tx: &mut Tx, tenant: &str) -> DbResult<()> {
    let name = format!("attribution/{tenant}");
    tx.lock(&BTreeSet::from([name.as_str()])).await
}

/// Appends what late touches correct, inside the transaction that stores them.
pub(crate) async fn correct_in(
    tx: &mut Tx,
    events: &Events,
    tenant: &Arc<str>,
    late: &[(&str, Touch)],
) -> DbResult<()> {
    let mut new = Vec::new();
    for (subject, touch) in late {
        let known = of_subject(events, tenant, subject).await?;
        new.extend(corrections(subject, touch, &known)?);
    }
    if new.is_empty() {
        return Ok(());
    }
    let count = new.len() as u64;
    let append = [Append::new(Arc::clone(tenant), new)];
    let stored = events.append_in(tx, &append).await.map_err(broken)?;
    for one in stored {
        one.map_err(broken)?;
    }
    tx.on_commit(move || metrics::corrected(count));
    Ok(())
}

/// The subject's events that sites have made, newest first.
async fn of_subject(events: &Events, tenant: &str, subject: &str) -> DbResult<Vec<Event>> {
    let filter = Filter {
        subject: Some(subject.to_owned()),
        source: Some(SOURCE.to_owned()),
        ..Filter::default()
    };
    let mut all: Vec<Event> = Vec::new();
    let mut before = None;
    while all.len() < MOST {
        let page = events.list(tenant, &filter, before, PAGE).await;
        let page = page.map_err(broken)?;
        all.extend(page.events);
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    Ok(all)
}

/// An event as it stands after its corrections.
struct Version<'e> {
    event: &'e Event,
    stored: Stored,
    number: u64,
    attributed_at: Option<Time>,
}

/// What a touch corrects among a subject's events: those that happened after it and say that the
/// subject came from where it had come before, or from nowhere.
fn corrections(subject: &str, touch: &Touch, known: &[Event]) -> DbResult<Vec<NewEvent>> {
    let mut versions: BTreeMap<&str, Version<'_>> = BTreeMap::new();
    let mut later: Vec<Stored> = Vec::new();
    for event in known {
        if !event.stream.starts_with(NAMESPACE) {
            continue;
        }
        let Ok(stored) = serde_json::from_str::<Stored>(event.payload.get()) else {
            continue;
        };
        if stored.corrects.is_some() {
            later.push(stored);
        } else if carries(event) {
            let version = Version {
                event,
                number: 1,
                attributed_at: stored.attributed_at,
                stored,
            };
            versions.insert(&event.id, version);
        }
    }
    for correction in later {
        let Some(corrected) = &correction.corrects else {
            continue;
        };
        let number = correction.version.unwrap_or(1);
        if let Some(version) = versions.get_mut(corrected.as_str())
            && number > version.number
        {
            version.number = number;
            version.attributed_at = correction.attributed_at;
        }
    }
    let mut stale: Vec<_> = versions
        .into_values()
        .filter(|version| {
            touch.occurred_at <= version.event.occurred_at
                && version
                    .attributed_at
                    .is_none_or(|at| at < touch.occurred_at)
        })
        .collect();
    stale.sort_by_key(|version| version.event.pos);
    stale
        .iter()
        .map(|version| correction(subject, touch, version))
        .collect()
}

/// Whether an attribution is among what an event says, be it null.
fn carries(event: &Event) -> bool {
    #[derive(Deserialize)]
    struct Says<'e> {
        #[serde(borrow)]
        utm_source: &'e RawValue,
    }
    serde_json::from_str::<Says<'_>>(event.payload.get())
        .is_ok_and(|says| !says.utm_source.get().is_empty())
}

fn correction(subject: &str, touch: &Touch, version: &Version<'_>) -> DbResult<NewEvent> {
    let Version { event, stored, .. } = version;
    let number = version.number + 1;
    let payload = to_raw_value(&Correction {
        corrects: &event.id,
        version: number,
        carried: Carried {
            site_id: &stored.site_id,
            resource: &stored.resource,
            record: &stored.record,
            utm_source: Some(&touch.utm_source),
            attributed_at: Some(touch.occurred_at),
        },
    });
    let payload = payload.map_err(|error| DbError::Broken(error.to_string()))?;
    let key = event.dedupe_key.as_deref().unwrap_or(&event.id);
    let kind = format!("{}{CORRECTED}", event.kind);
    Ok(NewEvent::kept(event.stream.as_str(), kind, payload)
        .once(format!("{key}:v{number}"))
        .about(subject)
        .said_by(SOURCE)
        .occurred(event.occurred_at))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn at(seconds: i64) -> Time {
        Time::from_millis(seconds * 1000)
    }

    fn event(pos: u64, kind: &str, seconds: i64, payload: &Value) -> Event {
        Event {
            id: format!("e{pos}"),
            stream: "site:shop".to_owned(),
            seq: pos,
            kind: kind.to_owned(),
            subject: Some("ann".to_owned()),
            payload: to_raw_value(payload).unwrap(),
            dedupe_key: Some(format!("order:shop:{pos}")),
            source: Some(SOURCE.to_owned()),
            occurred_at: at(seconds),
            created_at: at(1_000_000),
            pos,
            depth: 0,
        }
    }

    fn order(pos: u64, seconds: i64, attributed: Option<i64>) -> Event {
        let payload = json!({
            "site_id": "shop", "resource": "orders", "record": {"id": pos, "n": 1.5},
            "utm_source": attributed.map(|_| "old"), "attributed_at": attributed.map(at),
        });
        event(pos, "order_created", seconds, &payload)
    }

    fn touch(seconds: i64) -> Touch {
        Touch {
            utm_source: "late".to_owned(),
            occurred_at: at(seconds),
            event_id: "t".to_owned(),
            pos: 99,
        }
    }

    fn keys(touched: i64, known: &[Event]) -> Vec<String> {
        let new = corrections("ann", &touch(touched), known).unwrap();
        let key = |event: NewEvent| format!("{event:?}");
        new.into_iter()
            .map(key)
            .map(|text| {
                let (_, rest) = text.split_once("dedupe_key: Some(\"").unwrap();
                rest.split_once('"').unwrap().0.to_owned()
            })
            .collect()
    }

    #[test]
    fn a_late_touch_corrects_what_happened_after_it() {
        let known = [
            order(3, 300, Some(250)),
            order(2, 200, Some(50)),
            order(1, 100, None),
        ];
        // Before them all: two had an earlier touch, or none.
        assert_eq!(keys(60, &known), ["order:shop:1:v2", "order:shop:2:v2"]);
        assert_eq!(keys(150, &known), ["order:shop:2:v2"]);
        assert_eq!(keys(10, &known), ["order:shop:1:v2"]);
        assert!(keys(301, &known).is_empty(), "it came after everything");
    }

    #[test]
    fn what_was_corrected_before_has_its_next_version() {
        let corrected = json!({
            "corrects": "e1", "version": 2, "site_id": "shop", "resource": "orders", "record": {},
            "utm_source": "b", "attributed_at": at(60),
        });
        let known = [
            event(5, "order_created.corrected", 100, &corrected),
            order(1, 100, None),
        ];
        assert!(keys(50, &known).is_empty(), "it knows of a later one");
        assert_eq!(keys(70, &known), ["order:shop:1:v3"]);
    }

    #[test]
    fn events_that_carry_nothing_are_left_alone() {
        let plain = json!({"site_id": "s", "resource": "commits", "record": {}});
        let by_hand = json!({"utm_source": "x"});
        let mut touch = event(2, "attribution", 500, &by_hand);
        touch.stream = "sites".to_owned();
        let known = [event(1, "commit", 500, &plain), touch];
        assert!(keys(60, &known).is_empty());
    }
}
