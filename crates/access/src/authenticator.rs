//! Who asks. The store is authoritative; what it said is remembered for [`TTL`], because this runs
//! before every request: a known key costs one SHA-256 and one look into a map. A tenant is never
//! deleted, so every principal's tenant exists, and nobody behind needs to look again.
//!
//! A key that this process revokes is forgotten before its revocation is answered. The others are
//! told, and forget it as soon as they hear of it; should they not, it is good there for [`TTL`] at
//! most. A wrong key is remembered as briefly, what does not
//! look like a key never reaches the store, and few lookups of unknown keys run at once, so that a
//! flood of guesses leaves the readers to others.
//!
//! The key of an instance is good until its lease ends. That time is remembered with it, and once it has
//! come the store is asked whether the lease goes on: what renews one tells nobody.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tidewire_core::{Clock, Principal, Scope, Scopes, Time, principal::DEFAULT_TENANT};
use tidewire_db::{Db, Hint, Keep, Tx};
use tokio::sync::{Semaphore, broadcast::error::RecvError};

use crate::{
    AccessConfig, Error, KeyHandle, Result,
    cache::Bounded,
    handle::Form,
    last_used::{LastNote, LastUsed},
    model::KEY_MAX,
    secret::{self, Hash256},
    store::{KeyRow, Store},
};

/// For how long the store's word on a key is taken.
const TTL: Duration = Duration::from_secs(5);
/// From this age on one of those who use a key asks the store again, while the others go on:
/// otherwise all of them would ask at the moment at which it is forgotten.
const REFRESH: Duration = Duration::from_secs(4);
const KEYS_KEPT: usize = 20_000;
const WRONG_KEPT: usize = 20_000;
const TENANTS_KEPT: usize = 20_000;
/// The topic of hints that a key was revoked; their key is the key's id.
const TOPIC: &str = "access.keys";
/// Lookups of unknown keys at a time.
const UNKNOWN_AT_ONCE: usize = 2;

/// What a request shows of who it is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shown<'r> {
    pub key: Option<&'r str>,
    pub tenant: Option<&'r str>,
}

/// What memory alone can say.
pub(crate) enum Known {
    Caller(Principal),
    /// The store must be asked.
    Ask(Question),
}

pub(crate) struct Question {
    who: Who,
    tenant: Option<String>,
}

enum Who {
    Found(Caller),
    /// Which key the store must be asked for, and what it said of it before.
    Key {
        hash: Hash256,
        before: Option<Arc<Entry>>,
    },
}

/// A principal before it has chosen its tenant.
#[derive(Clone)]
struct Caller {
    principal: Principal,
    /// Whether it may act for any tenant: the operator and the fleet's agents.
    roams: bool,
}

/// A key that the store knows.
struct Entry {
    caller: Caller,
    /// The tenant that the key is listed under. An admin key acts on another one.
    home: Arc<str>,
    id: Arc<str>,
    hash: Hash256,
    /// An instance's: not good from then on, as far as was known when it was checked.
    expires_at: Option<Time>,
    checked: Instant,
    refreshing: AtomicBool,
    last_note: Arc<LastNote>,
}

struct Memory {
    keys: Bounded<Hash256, Arc<Entry>>,
    wrong: Bounded<Hash256, Instant>,
    /// Tenants are never deleted.
    tenants: Bounded<Arc<str>, ()>,
    /// How many keys were revoked, as far as this process knows. An answer of the store from before
    /// a revocation is not kept after it.
    revocations: u64,
    /// When a revocation elsewhere may last have been missed: what was asked before is asked again.
    doubted: Option<Instant>,
}

pub(crate) struct Authenticator {
    db: Db,
    clock: Clock,
    store: Store,
    admins: Vec<(Hash256, Caller)>,
    agents: Vec<(Hash256, Caller)>,
    open: Option<Caller>,
    memory: Arc<Mutex<Memory>>,
    unknown: Semaphore,
    default_tenant: Arc<str>,
    pub(crate) last_used: LastUsed,
}

impl Authenticator {
    pub(crate) fn new(db: Db, clock: Clock, store: Store, config: &AccessConfig) -> Self {
        let default_tenant: Arc<str> = DEFAULT_TENANT.into();
        let caller = |scopes: Scopes| Caller {
            principal: Principal {
                tenant: Arc::clone(&default_tenant),
                scopes,
                key_id: None,
                bound: None,
            },
            roams: true,
        };
        let configured = |key: &String, scope: Scope| {
            let scopes = [scope].into_iter().collect();
            (Hash256::of(key), caller(scopes))
        };
        let admins = config.admin_key.iter().chain(&config.own_key);
        let agents = config.agent_api_keys.iter();
        Authenticator {
            db,
            clock,
            store,
            admins: admins.map(|key| configured(key, Scope::Admin)).collect(),
            agents: agents.map(|key| configured(key, Scope::Fleet)).collect(),
            open: config.open.then(|| caller(Scopes::all())),
            memory: Arc::new(Mutex::new(Memory {
                keys: Bounded::new(KEYS_KEPT),
                wrong: Bounded::new(WRONG_KEPT),
                tenants: Bounded::new(TENANTS_KEPT),
                revocations: 0,
                doubted: None,
            })),
            unknown: Semaphore::new(UNKNOWN_AT_ONCE),
            default_tenant,
            last_used: LastUsed::default(),
        }
    }

    /// Answers from memory if it can. In open mode a request without a key is the operator's; a key
    /// that is shown is still held to be meant: a valid one acts as itself, and a wrong one is
    /// refused, since a client that believes to be somebody must not silently be somebody else.
    pub(crate) fn know(&self, shown: Shown<'_>, now: Instant) -> Result<Known> {
        let who = match (shown.key, &self.open) {
            (Some(key), _) => self.recognise(key, now)?,
            (None, Some(operator)) => Who::Found(operator.clone()),
            (None, None) => return Err(Error::NoKey),
        };
        self.acting_for(who, shown.tenant)
    }

    /// The same for who began a session: its key is found by its handle.
    pub(crate) fn know_again(
        &self,
        handle: &KeyHandle,
        secret: &[u8],
        tenant: Option<&str>,
        now: Instant,
    ) -> Result<Known> {
        let who = match &handle.0 {
            Form::Open => Who::Found(self.open.clone().ok_or(Error::NoKey)?),
            Form::Minted(hash) => self.recall(*hash, now)?,
            Form::Configured(mark) => {
                let same = |hash: &Hash256| hash.marked(secret) == *mark;
                let found = self.configured().find(|(hash, _)| same(hash));
                Who::Found(found.ok_or(Error::WrongKey)?.1.clone())
            }
        };
        self.acting_for(who, tenant)
    }

    /// What stands for a key in a session.
    pub(crate) fn handle(&self, key: &str, secret: &[u8]) -> KeyHandle {
        let hash = Hash256::of(key);
        // A minted key cannot be guessed from its hash; one that a person thought up could be.
        match self.configured().any(|(configured, _)| *configured == hash) {
            true => KeyHandle(Form::Configured(hash.marked(secret))),
            false => KeyHandle(Form::Minted(hash)),
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    fn configured(&self) -> impl Iterator<Item = &(Hash256, Caller)> {
        self.admins.iter().chain(&self.agents)
    }

    fn acting_for(&self, who: Who, tenant: Option<&str>) -> Result<Known> {
        let Some(tenant) = tenant else {
            return Ok(match who {
                Who::Found(caller) => Known::Caller(caller.principal),
                who @ Who::Key { .. } => Known::Ask(Question { who, tenant: None }),
            });
        };
        if let Who::Found(caller) = &who {
            if !caller.roams {
                return Err(Error::TenantNotChosen);
            }
            if let Some(tenant) = self.known_tenant(tenant) {
                return Ok(Known::Caller(Principal {
                    tenant,
                    ..caller.principal.clone()
                }));
            }
        }
        Ok(Known::Ask(Question {
            who,
            tenant: Some(tenant.to_owned()),
        }))
    }

    /// Answers with the store's help.
    pub(crate) async fn ask(&self, question: Question, now: Instant) -> Result<Principal> {
        let caller = match question.who {
            Who::Found(caller) => caller,
            Who::Key { hash, before } => self.look_up(hash, before, now).await?,
        };
        let Some(tenant) = question.tenant else {
            return Ok(caller.principal);
        };
        if !caller.roams {
            return Err(Error::TenantNotChosen);
        }
        let tenant = self.tenant(&tenant).await?;
        Ok(Principal {
            tenant,
            ..caller.principal
        })
    }

    /// The tenant, if there is one of this id.
    pub(crate) async fn tenant(&self, id: &str) -> Result<Arc<str>> {
        if let Some(tenant) = self.known_tenant(id) {
            return Ok(tenant);
        }
        match self.store.tenant(&mut self.db.read(), id).await? {
            Some(tenant) => {
                let tenant: Arc<str> = tenant.id.into();
                self.memory().tenants.insert(Arc::clone(&tenant), ());
                Ok(tenant)
            }
            None => Err(Error::UnknownTenant(id.to_owned())),
        }
    }

    /// To be called in the transaction that deletes the key: once that is durable, nobody comes
    /// through with the key here any more, and the other processes are told.
    pub(crate) fn revoke_on_commit(&self, tx: &mut Tx, hash: Hash256, id: String) {
        let (memory, hints) = (Arc::clone(&self.memory), self.db.hints().clone());
        tx.on_commit(move || {
            let mut memory = lock(&memory);
            memory.revocations += 1;
            memory.keys.remove(&hash);
            drop(memory);
            hints.send(TOPIC, &id, 0, Keep::Greatest);
        });
    }

    /// Forgets the keys that other processes revoke, for as long as the store is open.
    pub(crate) async fn hear_revocations(&self) {
        let mut hints = self.db.hints().subscribe();
        self.doubt();
        loop {
            match hints.recv().await {
                Ok(hint) => match &*hint {
                    Hint::One { topic, key, .. } if topic == TOPIC => self.forget(key),
                    Hint::One { .. } => {}
                    Hint::Everything => self.doubt(),
                },
                Err(RecvError::Lagged(_)) => self.doubt(),
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn forget(&self, id: &str) {
        let mut memory = self.memory();
        memory.revocations += 1;
        memory.keys.retain(|entry| *entry.id != *id);
    }

    /// Any key may have been revoked unheard. Nothing is forgotten, as the store may be away just
    /// now: each key is asked for again when it is used next.
    fn doubt(&self) {
        self.memory().doubted = Some(Instant::now());
    }

    fn recognise(&self, key: &str, now: Instant) -> Result<Who> {
        if key.len() > KEY_MAX {
            return Err(Error::WrongKey);
        }
        let hash = Hash256::of(key);
        for (configured, caller) in self.configured() {
            if *configured == hash {
                return Ok(Who::Found(caller.clone()));
            }
        }
        if !secret::is_key(key) {
            return Err(Error::WrongKey);
        }
        self.recall(hash, now)
    }

    /// What memory says of a key.
    fn recall(&self, hash: Hash256, now: Instant) -> Result<Who> {
        let mut memory = self.memory();
        let doubted = memory.doubted;
        if let Some(entry) = memory.keys.get(&hash).filter(|entry| entry.hash == hash) {
            let age = now.saturating_duration_since(entry.checked);
            let old = age >= REFRESH || doubted.is_some_and(|since| entry.checked <= since);
            let refresh = old && !entry.refreshing.swap(true, Ordering::Relaxed);
            if age >= TTL || refresh || entry.is_over(self.clock.now()) {
                let before = Some(Arc::clone(entry));
                return Ok(Who::Key { hash, before });
            }
            self.used(entry);
            return Ok(Who::Found(entry.caller.clone()));
        }
        match memory.wrong.get(&hash) {
            Some(since) if now.saturating_duration_since(*since) < TTL => Err(Error::WrongKey),
            _ => Ok(Who::Key { hash, before: None }),
        }
    }

    async fn look_up(
        &self,
        hash: Hash256,
        before: Option<Arc<Entry>>,
        now: Instant,
    ) -> Result<Caller> {
        let _permit = match &before {
            Some(_) => None,
            None => {
                let permit = self.unknown.acquire().await.ok();
                // Somebody else may have asked for the same key while this one waited.
                if let Who::Found(caller) = self.recall(hash, now)? {
                    return Ok(caller);
                }
                permit
            }
        };
        let revocations = self.memory().revocations;
        let row = match self.store.key_by_hash(&mut self.db.read(), hash).await {
            Ok(row) => row.filter(|row| row.hash == hash),
            Err(error) => return self.still_good(before, now).ok_or(error.into()),
        };
        let mut memory = self.memory();
        let Some(row) = row else {
            memory.keys.remove(&hash);
            memory.wrong.insert(hash, now);
            return Err(Error::WrongKey);
        };
        if row.expires_at.is_some_and(|end| end <= self.clock.now()) {
            memory.keys.remove(&hash);
            return Err(Error::Ended);
        }
        let last_note = before.map(|entry| Arc::clone(&entry.last_note));
        let entry = self.entry(row, last_note, now);
        self.used(&entry);
        let caller = entry.caller.clone();
        // One that waits for its thread may have it at any moment, and is asked for each time.
        let waits = matches!(&caller.principal.bound, Some(bound) if bound.thread.is_none());
        if memory.revocations == revocations && !waits {
            memory.keys.insert(hash, Arc::new(entry));
        }
        Ok(caller)
    }

    fn entry(&self, row: KeyRow, last_note: Option<Arc<LastNote>>, now: Instant) -> Entry {
        let home: Arc<str> = row.tenant.into();
        let id: Arc<str> = row.id.into();
        let roams = row.scopes.has(Scope::Admin);
        let tenant = if roams { &self.default_tenant } else { &home };
        let principal = Principal {
            tenant: Arc::clone(tenant),
            scopes: row.scopes,
            key_id: Some(Arc::clone(&id)),
            bound: row.bound,
        };
        let last_note = last_note.unwrap_or_default();
        last_note.seen(row.last_used_at);
        Entry {
            caller: Caller { principal, roams },
            home,
            id,
            hash: row.hash,
            expires_at: row.expires_at,
            checked: now,
            refreshing: AtomicBool::new(false),
            last_note,
        }
    }

    fn used(&self, entry: &Entry) {
        self.last_used.note(&entry.last_note, self.clock.now(), || {
            (Arc::clone(&entry.home), Arc::clone(&entry.id))
        });
    }

    /// A refresh that the store could not answer leaves what it said before, which still holds for as
    /// long as it would have without the refresh.
    fn still_good(&self, before: Option<Arc<Entry>>, now: Instant) -> Option<Caller> {
        let entry = before.filter(|entry| {
            now.saturating_duration_since(entry.checked) < TTL && !entry.is_over(self.clock.now())
        })?;
        entry.refreshing.store(false, Ordering::Relaxed);
        Some(entry.caller.clone())
    }

    fn known_tenant(&self, id: &str) -> Option<Arc<str>> {
        self.memory().tenants.get_key(id).cloned()
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        lock(&self.memory)
    }
}

impl Entry {
    /// Whether its time is up, unless it was renewed since.
    fn is_over(&self, now: Time) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }
}

fn lock(memory: &Mutex<Memory>) -> MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
