//! Hints by LISTEN and NOTIFY.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use sqlx::{
    Executor as _,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};
use tidewire_core::clock::random_bytes;

use super::{Hint, Hints, Reach, Waiting};
use crate::{Arg, Result, Sql, server::Server};

const CHANNEL: &str = "tidewire";
/// Hints are gathered for so long after some were sent.
const GATHERED: Duration = Duration::from_millis(10);
/// PostgreSQL takes less than 8000 bytes in one notification.
const MOST_BYTES: usize = 7_500;
/// Notifications of one sending; past it the others are told to look at everything.
const MOST_AT_ONCE: usize = 32;
/// A listener that heard nothing for so long asks whether its connection lives.
const SILENCE: Duration = Duration::from_secs(10);
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const RECONNECT_AFTER: Duration = Duration::from_millis(500);

/// A hint on its way, `[topic, key, value]`; a message is `[sender, hints]`, without hints if some
/// were too many to name.
type Wire = (String, String, i64);

/// Starts telling others and, with a connection that stays its own, hearing them.
pub(crate) fn start(hints: &Hints, server: &Arc<Server>, listen: Option<PgConnectOptions>) {
    let sender: [u8; 8] = random_bytes();
    let sender = format!("{:016x}", u64::from_be_bytes(sender));
    let speak = speak(hints.clone(), Arc::downgrade(server), sender.clone());
    tokio::spawn(speak);
    if let Some(options) = listen {
        tokio::spawn(hear(hints.clone(), Arc::downgrade(server), options, sender));
    }
}

/// Ends with the store.
async fn speak(hints: Hints, server: Weak<Server>, sender: String) {
    let Some(dialect) = server.upgrade().map(|server| server.dialect) else {
        return;
    };
    let messages = dialect.json_ids("r", "message");
    let notify = dialect.sql(&format!(
        "SELECT pg_notify('{CHANNEL}', {}) FROM {}",
        messages.columns, messages.from
    ));
    loop {
        let woken = tokio::time::timeout(SILENCE, hints.inner.wake.notified()).await;
        let Some(server) = server.upgrade().filter(|server| !server.is_closed()) else {
            return;
        };
        if woken.is_err() {
            continue;
        }
        let messages = messages_of(&hints.take(), &sender);
        if let Err(error) = send(&server, &notify, &messages).await {
            tracing::debug!(%error, "other processes were not told, they find out by polling");
        }
        drop(server);
        tokio::time::sleep(GATHERED).await;
    }
}

async fn send(server: &Server, notify: &Sql, messages: &[String]) -> Result<()> {
    if messages.is_empty() {
        return Ok(());
    }
    let args = vec![Arg::json(messages)?];
    server.read(notify, args).await.map(drop)
}

fn messages_of(waiting: &Waiting, sender: &str) -> Vec<String> {
    let everything = || vec![format!("[\"{sender}\",null]")];
    if waiting.everything {
        return everything();
    }
    let mut messages = Vec::new();
    let mut hints = String::new();
    for ((topic, key), value) in &waiting.hints {
        // A name that JSON could not write does not exist.
        let hint = serde_json::to_string(&(topic, key, value)).unwrap_or_default();
        if !hints.is_empty() && hints.len() + hint.len() > MOST_BYTES {
            messages.push(format!("[\"{sender}\",[{hints}]]"));
            hints.clear();
        }
        if !hints.is_empty() {
            hints.push(',');
        }
        hints.push_str(&hint);
    }
    if !hints.is_empty() {
        messages.push(format!("[\"{sender}\",[{hints}]]"));
    }
    if messages.len() > MOST_AT_ONCE {
        return everything();
    }
    messages
}

async fn hear(hints: Hints, server: Weak<Server>, options: PgConnectOptions, sender: String) {
    let closed = || server.upgrade().is_none_or(|server| server.is_closed());
    while !closed() {
        if let Err(error) = listen(&hints, &options, &sender, &closed).await {
            tracing::warn!(%error, "the connection that listens is lost, the store is polled until it is back");
        }
        hints.set_reach(Reach::Polled);
        hints.hear(Hint::Everything);
        tokio::time::sleep(RECONNECT_AFTER).await;
    }
}

async fn listen(
    hints: &Hints,
    options: &PgConnectOptions,
    sender: &str,
    closed: &impl Fn() -> bool,
) -> Result<(), sqlx::Error> {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(ANSWER_WITHIN)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_lazy_with(options.clone());
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    hints.set_reach(Reach::Told);
    // What was said before this connection listened.
    hints.hear(Hint::Everything);
    tracing::debug!("listening for other processes");
    while !closed() {
        match tokio::time::timeout(SILENCE, listener.try_recv()).await {
            Ok(Ok(Some(notification))) => told(hints, notification.payload(), sender),
            Ok(Ok(None)) => return Err(sqlx::Error::PoolClosed),
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                // Silence: perhaps there is nothing to hear, perhaps nobody there.
                let asked = tokio::time::timeout(ANSWER_WITHIN, listener.execute("SELECT 1"));
                asked.await.map_err(|_| sqlx::Error::PoolTimedOut)??;
            }
        }
    }
    Ok(())
}

fn told(hints: &Hints, message: &str, me: &str) {
    match serde_json::from_str::<(String, Option<Vec<Wire>>)>(message) {
        Ok((sender, _)) if sender == me => {}
        Ok((_, None)) => hints.hear(Hint::Everything),
        Ok((_, Some(all))) => {
            for (topic, key, value) in all {
                hints.hear(Hint::One { topic, key, value });
            }
        }
        Err(error) => {
            tracing::debug!(%error, "a notification is not one of ours");
            hints.hear(Hint::Everything);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Keep;

    #[test]
    fn hints_travel_in_few_messages_and_of_one_key_only_one_counts() {
        let hints = Hints::new(Reach::Told, true);
        for value in [3, 9, 5] {
            hints.send("events", "t", value, Keep::Greatest);
            hints.send("jobs", "t", value, Keep::Least);
        }
        let messages = messages_of(&hints.take(), "me");
        assert_eq!(messages, [r#"["me",[["events","t",9],["jobs","t",3]]]"#]);
        let mut heard = hints.subscribe();
        told(&hints, &messages[0], "me");
        assert!(heard.try_recv().is_err(), "nobody hears himself");
        told(&hints, &messages[0], "you");
        let one = |topic: &str, value| Hint::One {
            topic: topic.to_owned(),
            key: "t".to_owned(),
            value,
        };
        assert_eq!(*heard.try_recv().unwrap(), one("events", 9));
        assert_eq!(*heard.try_recv().unwrap(), one("jobs", 3));
    }

    #[test]
    fn too_many_hints_become_one_that_says_so() {
        let hints = Hints::new(Reach::Told, true);
        for n in 0..super::super::MOST_WAITING + 1 {
            hints.send("events", &n.to_string(), 1, Keep::Least);
        }
        assert_eq!(messages_of(&hints.take(), "me"), [r#"["me",null]"#]);
        for n in 0..3000 {
            hints.send("events", &format!("{n:0>100}"), 1, Keep::Least);
        }
        assert_eq!(messages_of(&hints.take(), "me"), [r#"["me",null]"#]);
        let mut heard = hints.subscribe();
        told(&hints, r#"["you",null]"#, "me");
        assert_eq!(*heard.try_recv().unwrap(), Hint::Everything);
    }
}
