//! Threads as lines that are followed live.

use std::sync::Arc;

use tidewire_db::Result;
use tidewire_events::{
    Stretch,
    live::{Chunk, Line},
};
use tidewire_http::sse;

use crate::{event::ThreadEvent, hot::HotLog, model::ThreadKey, state};

/// Bytes of payloads that a follower reads at once from what is stored.
const READ_BYTES: usize = 4 << 20;

/// The threads of this store.
pub struct Lines {
    pub(crate) hot: Arc<dyn HotLog>,
}

/// What a follower wants of a thread.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Only events of this turn, up to its end.
    pub turn: Option<String>,
}

/// What a filter looks at.
pub struct Mark {
    turn: Option<Box<str>>,
    is_ending: bool,
}

impl Line for Lines {
    type Key = ThreadKey;
    type Mark = Mark;
    type Filter = Wanted;

    const TOPIC: &'static str = "threads";
    const FOLLOWERS: &'static str = "tidewire_thread_subscribers";

    fn hint(key: &ThreadKey) -> String {
        key.to_string()
    }

    fn heard(hint: &str) -> Option<ThreadKey> {
        let (tenant, thread) = hint.split_once('/')?;
        Some(ThreadKey {
            tenant: tenant.into(),
            thread: thread.into(),
        })
    }

    fn wants_all(wanted: &Wanted) -> bool {
        wanted.turn.is_none()
    }

    fn wants(wanted: &Wanted, mark: &Mark) -> bool {
        wanted.turn.is_none() || wanted.turn.as_deref() == mark.turn.as_deref()
    }

    fn ends(wanted: &Wanted, mark: &Mark) -> bool {
        wanted.turn.is_some() && mark.is_ending
    }

    async fn heads(&self, keys: &[ThreadKey]) -> Result<Vec<(ThreadKey, u64)>> {
        let ends = self.hot.ends(keys).await?;
        let heads = keys.iter().zip(ends);
        Ok(heads.map(|(key, end)| (key.clone(), end.seq)).collect())
    }

    async fn read(
        &self,
        key: &ThreadKey,
        wanted: Option<&Wanted>,
        (after, until): (u64, u64),
        limit: u32,
    ) -> Result<Chunk<Mark>> {
        let turn = wanted.and_then(|wanted| wanted.turn.as_deref());
        let most = Stretch {
            events: limit,
            bytes: READ_BYTES,
        };
        let page = self.hot.read(key, turn, (after, until), most).await?;
        let last = match page.events.last() {
            Some(last) if !page.is_all => last.seq,
            // Nothing else is there up to there.
            _ => until,
        };
        Ok(chunk((after + 1, last), &page.events))
    }
}

/// What stands on a thread from one `seq` to another.
pub(crate) fn chunk(span: (u64, u64), events: &[ThreadEvent]) -> Chunk<Mark> {
    let items = events.iter().map(|event| {
        let mark = Mark {
            turn: event.turn_id.as_deref().map(Into::into),
            is_ending: state::ending(&event.kind).is_some(),
        };
        (event.seq, mark, event)
    });
    Chunk::new(span, items, |buffer, seq, event| {
        match serde_json::to_vec(event) {
            Ok(data) => sse::frame(buffer, Some(&seq.to_string()), Some(&event.kind), &data),
            // Every part was JSON when it was stored.
            Err(error) => {
                tracing::error!(%error, id = event.event_id, "an event cannot be written as JSON");
            }
        }
    })
}
