//! Turns: start and cancel them. What they say is in their [threads](crate::Threads).

use serde::Serialize;

use crate::{AcceptedTurn, Client, NewTurn, Result, retry::Repeat, transport::Call};

pub struct Turns<'c>(pub(crate) &'c Client);

impl Turns<'_> {
    /// Starts a turn; returns after it is durable. Repeated on a lost answer only if it names its
    /// thread and itself, or there is an `idempotency_key`.
    pub async fn start(
        &self,
        turn: &NewTurn,
        idempotency_key: Option<&str>,
    ) -> Result<AcceptedTurn> {
        let keyed =
            idempotency_key.is_some() || (turn.thread_id.is_some() && turn.turn_id.is_some());
        let mut call = Call::post(self.0.url(&["v1", "turns"])?, turn)?;
        call.idempotency_key = idempotency_key.map(str::to_owned);
        self.0.send(call, Repeat::keyed(keyed)).await
    }

    /// Cancels a turn; its agent loses its lease. One that has ended stays as it is.
    pub async fn cancel(&self, thread_id: &str, turn_id: &str) -> Result<AcceptedTurn> {
        #[derive(Serialize)]
        struct Body<'a> {
            thread_id: &'a str,
        }
        let url = self.0.url(&["v1", "turns", turn_id, "cancel"])?;
        let call = Call::post(url, &Body { thread_id })?;
        self.0.send(call, Repeat::Always).await
    }
}
