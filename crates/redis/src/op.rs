//! What scripts are asked, and what they answer.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use tidewire_core::Time;
use tidewire_threads::{
    NewThreadEvent, TurnStatus,
    hot::{Kept, Known, Once, ThreadKey},
};

/// For how long a request's key is remembered, in seconds.
const ONCE_KEPT: u64 = 24 * 3600;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Accept,
    Append,
    Cancel,
    /// The server's own word: dropped where it comes too late.
    Say,
}

#[derive(Debug, Serialize)]
pub(crate) struct OpEvent {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    turn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ends: Option<&'static str>,
    /// Its id was made just now, and cannot be known.
    fresh: bool,
}

/// The pieces of the events that cancel turns, of which only the script knows how many there are.
#[derive(Debug, Serialize)]
struct Cancels {
    id: String,
    head: String,
    mid: &'static str,
    tail: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct Op {
    pub run: String,
    pub generation: String,
    kind: Kind,
    now: i64,
    tenant: String,
    thread: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_busy: Option<tidewire_threads::OnBusy>,
    pub events: Vec<OpEvent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cancels: Option<Cancels>,
    /// Up to here the store was asked.
    checked: u64,
    known: Vec<Option<u64>>,
    turns: HashMap<String, (&'static str, u64, u64)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    kept: u64,
    #[serde(skip)]
    pub once: Option<String>,
    #[serde(skip)]
    pub texts: Vec<String>,
    /// The same as events, as the store is asked about them.
    #[serde(skip)]
    pub whole: Vec<NewThreadEvent>,
}

impl Op {
    /// Completes the events: each has its id and its time from here on.
    pub(crate) fn new(
        kind: Kind,
        key: &ThreadKey,
        events: Vec<NewThreadEvent>,
        kept: &Kept,
    ) -> Self {
        let now = kept.clock().now();
        let mut op = Op {
            run: String::new(),
            generation: String::new(),
            kind,
            now: now.millis(),
            tenant: key.tenant.to_string(),
            thread: key.thread.to_string(),
            on_busy: None,
            events: Vec::with_capacity(events.len()),
            cancels: None,
            checked: 0,
            known: Vec::new(),
            turns: HashMap::new(),
            body: None,
            kept: ONCE_KEPT,
            once: None,
            texts: Vec::with_capacity(events.len()),
            whole: events,
        };
        for event in &mut op.whole {
            let fresh = event.event_id.is_none();
            let id = event.event_id.get_or_insert_with(|| kept.new_id()).clone();
            event.ts.get_or_insert(now);
            // They are the log's own to say.
            event.spec_version = None;
            event.thread_id = None;
            op.events.push(OpEvent {
                id,
                turn: event.turn_id.clone(),
                ends: event.ends().map(TurnStatus::as_str),
                fresh,
            });
            // Every part is JSON or text.
            op.texts
                .push(serde_json::to_string(event).unwrap_or_default());
        }
        op
    }

    pub(crate) fn on_busy(mut self, on_busy: tidewire_threads::OnBusy) -> Self {
        self.on_busy = Some(on_busy);
        self
    }

    /// The open turns may be cancelled by it, and this is why.
    pub(crate) fn cancelling(mut self, reason: Option<&str>, kept: &Kept) -> Self {
        #[derive(Serialize)]
        struct Reason<'r> {
            #[serde(skip_serializing_if = "Option::is_none")]
            reason: Option<&'r str>,
        }

        let id = format!("{}.", kept.new_id());
        let mut event = NewThreadEvent::of_turn("turn.cancelled", "", &Reason { reason });
        event.turn_id = None;
        event.ts = Some(Time::from_millis(self.now));
        let text = serde_json::to_string(&event).unwrap_or_default();
        self.cancels = Some(Cancels {
            head: format!("{{\"event_id\":\"{id}"),
            mid: "\",\"turn_id\":\"",
            tail: format!("\",{}", text.trim_start_matches('{')),
            id,
        });
        self
    }

    pub(crate) fn once(mut self, once: Option<Once>) -> Self {
        if let Some(once) = once {
            self.once = Some(once.key);
            self.body = Some(once.body);
        }
        self
    }

    /// The store was asked about all up to here.
    pub(crate) fn check(&mut self, base: u64, known: Known) {
        self.checked = base;
        self.known = known.events;
        let turns = known.turns.into_iter();
        self.turns = turns
            .map(|(turn, (status, seq, ended))| {
                (turn, (status.as_str(), seq, ended.unwrap_or_default()))
            })
            .collect();
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Answer {
    pub is: Is,
    #[serde(default)]
    pub seq: u64,
    #[serde(default)]
    pub created: bool,
    #[serde(default)]
    pub turn: String,
    #[serde(default)]
    pub status: String,
    #[serde(default)]
    pub upto: u64,
    #[serde(default)]
    pub base: u64,
    #[serde(default)]
    pub evicted: u64,
    pub events: Option<Vec<Placed>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Is {
    Done,
    /// The connection is not in the life that was taken up.
    Moved,
    /// The thread has to be taken up from the store.
    Cold,
    /// More of its places have to be reserved.
    Reserve,
    /// The store has to be asked about the events and turns.
    Check,
    /// The request's key came with another body.
    Reused,
    Busy,
    Over,
    Unknown,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Placed {
    pub seq: u64,
    pub duplicated: bool,
    pub status: Option<String>,
}
