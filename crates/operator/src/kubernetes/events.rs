//! What happened to a thread's instance, as events of its AgentThread: `kubectl describe` shows them.

use kube::{
    Client, Resource as _,
    runtime::events::{Event, EventType, Recorder, Reporter},
};

use super::{AgentThread, FIELDS};

pub struct Events {
    recorder: Recorder,
}

/// What is told of. The names are the events' reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Started,
    Stopped,
    Bound,
    Waits,
    Crashed,
    NodeLost,
}

impl Events {
    pub fn new(client: Client) -> Self {
        let reporter = Reporter {
            controller: FIELDS.to_owned(),
            instance: None,
        };
        Events {
            recorder: Recorder::new(client, reporter),
        }
    }

    /// Says it as well as may be: nothing depends on it.
    pub async fn tell(&self, thread: &AgentThread, told: Told, note: String) {
        let event = Event {
            type_: match told {
                Told::Waits | Told::Crashed | Told::NodeLost => EventType::Warning,
                Told::Started | Told::Stopped | Told::Bound => EventType::Normal,
            },
            reason: format!("{told:?}"),
            note: Some(shortened(note)),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        let regarding = thread.object_ref(&());
        if let Err(error) = self.recorder.publish(&event, &regarding).await {
            tracing::warn!(%error, ?told, "an event could not be written");
        }
    }
}

/// The API refuses notes of more than 1 KiB.
fn shortened(mut note: String) -> String {
    const MOST: usize = 1000;
    if note.len() > MOST {
        let end = (0..=MOST).rev().find(|&at| note.is_char_boundary(at));
        note.truncate(end.unwrap_or(0));
        note.push('…');
    }
    note
}
