//! Turns as they are shown while the store may be behind the hot log.

use tidewire_core::Time;
use tidewire_db::Result as DbResult;
use tidewire_events::Stretch;

use super::{HotLog, HotTurn};
use crate::{
    Turn, TurnStatus,
    event::{ThreadEvent, reason},
    model::ThreadKey,
};

const ONE: Stretch = Stretch {
    events: 1,
    bytes: usize::MAX,
};

/// What is known of a turn from both; `None` if neither knows it.
pub(crate) async fn merged(
    log: &dyn HotLog,
    key: &ThreadKey,
    stored: Option<Turn>,
    hot: Option<&HotTurn>,
) -> DbResult<Option<Turn>> {
    let Some(hot) = hot else {
        return Ok(stored);
    };
    let mut turn = match stored {
        Some(turn) => turn,
        None => begun(key, hot, at(log, key, hot.seq).await?),
    };
    if turn.status.is_terminal() {
        return Ok(Some(turn));
    }
    if hot.status.is_terminal() {
        turn.status = hot.status;
        turn.ended_seq = hot.ended_seq;
        let end = match hot.ended_seq {
            Some(seq) => at(log, key, seq).await?,
            None => None,
        };
        if let Some(end) = end {
            turn.finished_at = Some(end.ts);
            turn.started_at = turn.started_at.or(Some(end.ts));
            turn.error = reason(&end.kind, &end.payload);
        }
    } else if hot.status == TurnStatus::Running {
        turn.status = TurnStatus::Running;
        turn.started_at = turn.started_at.or(Some(turn.created_at));
    }
    Ok(Some(turn))
}

async fn at(log: &dyn HotLog, key: &ThreadKey, seq: u64) -> DbResult<Option<ThreadEvent>> {
    let page = log.read(key, None, (seq - 1, seq), ONE).await?;
    Ok(page.events.into_iter().next())
}

fn begun(key: &ThreadKey, hot: &HotTurn, first: Option<ThreadEvent>) -> Turn {
    let asked = first.and_then(|event| event.asked());
    let at: Time = hot.created_at;
    let mut turn = Turn::begun(key, &hot.turn_id, hot.seq, at);
    if let Some(asked) = asked {
        turn.input = asked.input;
        turn.agent = asked.agent;
        turn.status = TurnStatus::Accepted;
        turn.started_at = None;
    }
    turn
}
