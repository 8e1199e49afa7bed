//! Waiting rooms: operations whose lock somebody else holds wait here, each lock's in a task and a
//! transaction of its own, so that everybody else's go on.
//!
//! While a lock has a room, new operations that want it go straight there and are written together;
//! the room closes when it is empty. If the lock was waited for in vain, all who are in the room are
//! refused: the next of them would wait as long again, and more would come meanwhile than leave.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::Semaphore;

use super::{Server, locks::Patience};
use crate::{
    Error,
    lane::{MOST_WAITING, Pending},
    round::{Round, round},
    writer::Writer,
};

/// How long a room waits for one of the few places while others wait for their locks.
const PLACE_WITHIN: Duration = Duration::from_secs(5);
/// Batches that one transaction of a room takes.
const AT_ONCE: usize = 8;

/// Of what may wait in a lane, one room takes at most a quarter.
const MOST_IN_A_ROOM: usize = MOST_WAITING / 4;

/// The rooms, by the name of their lock.
type Waiting = HashMap<Box<str>, Room>;

#[derive(Default)]
struct Room {
    batches: Vec<Box<dyn Pending>>,
    weight: usize,
}

pub(crate) struct Rooms {
    waiting: Mutex<Waiting>,
    /// Rooms take half of the connections at most.
    places: Arc<Semaphore>,
}

impl Rooms {
    pub(super) fn new(most: u32) -> Self {
        Rooms {
            waiting: Mutex::default(),
            places: Arc::new(Semaphore::new(most.max(1) as usize)),
        }
    }

    /// Of these names, those that have a room.
    pub(crate) fn open(&self, names: &BTreeSet<Box<str>>) -> BTreeSet<Box<str>> {
        let waiting = self.lock();
        if waiting.is_empty() {
            return BTreeSet::new();
        }
        let open = names.iter().filter(|name| waiting.contains_key(*name));
        open.cloned().collect()
    }

    /// Lets operations that want one lock wait for it.
    pub(crate) fn wait(server: &Arc<Server>, name: &str, batch: Box<dyn Pending>) {
        let mut waiting = server.rooms.lock();
        if let Some(room) = waiting.get_mut(name) {
            if room.weight + batch.weight() > MOST_IN_A_ROOM {
                drop(waiting);
                batch.fail(&Error::Busy(format!(
                    "more than {MOST_IN_A_ROOM} rows wait for the lock {name}"
                )));
                return;
            }
            room.add(batch);
            return;
        }
        let mut room = Room::default();
        room.add(batch);
        waiting.insert(name.into(), room);
        drop(waiting);
        metrics::gauge!("tidewire_store_waiting_rooms").increment(1.0);
        server
            .tasks
            .spawn(serve(Arc::clone(server), Box::<str>::from(name)));
    }

    fn take(&self, name: &str) -> Option<Vec<Box<dyn Pending>>> {
        let mut waiting = self.lock();
        let room = waiting.get_mut(name)?;
        if room.batches.is_empty() {
            waiting.remove(name);
            return None;
        }
        let next = room.batches.len().min(AT_ONCE);
        let next: Vec<_> = room.batches.drain(..next).collect();
        room.weight -= next.iter().map(|batch| batch.weight()).sum::<usize>();
        Some(next)
    }

    /// Refuses everybody in a room, which stays open.
    fn refuse(&self, name: &str, error: &Error) {
        let room = self.lock().get_mut(name).map(std::mem::take);
        let batches = room.map(|room| room.batches).unwrap_or_default();
        batches.into_iter().for_each(|batch| batch.fail(error));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room {
    fn add(&mut self, batch: Box<dyn Pending>) {
        self.weight += batch.weight();
        self.batches.push(batch);
    }
}

/// Ends a room even if a batch panics: whoever waits in it is refused.
struct Ending {
    server: Arc<Server>,
    name: Box<str>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        metrics::gauge!("tidewire_store_waiting_rooms").decrement(1.0);
        let left = self.server.rooms.lock().remove(&self.name);
        let error = crate::lane::stopped();
        left.into_iter()
            .flat_map(|room| room.batches)
            .for_each(|batch| batch.fail(&error));
    }
}

async fn serve(server: Arc<Server>, name: Box<str>) {
    let ending = Ending {
        server: Arc::clone(&server),
        name: name.clone(),
    };
    let mut writer = Writer::Server(Arc::clone(&server));
    while let Some(batches) = server.rooms.take(&name) {
        let place = Arc::clone(&server.rooms.places).acquire_owned();
        let Ok(Ok(place)) = tokio::time::timeout(PLACE_WITHIN, place).await else {
            let error = Error::Busy(
                "the locks of too many others are waited for at this moment".to_owned(),
            );
            batches.into_iter().for_each(|batch| batch.fail(&error));
            continue;
        };
        let context = Round {
            health: &server.health,
            patience: Patience::Wait,
        };
        let written = round(&mut writer, &context, batches).await;
        drop(place);
        if !written {
            let error = Error::Busy(format!("the lock {name} was waited for in vain"));
            server.rooms.refuse(&name, &error);
        }
    }
    drop(ending);
}
