use tidewire_core::{Bound, Time};
use tidewire_db::Reach;
use tidewire_testkit::{Engine, TestStore, eventually, every_engine};

use super::*;
use crate::{MIGRATIONS, Service};

/// Two processes on one store, as far as the engine has such, and a key.
struct World {
    here: Authenticator,
    there: Service,
    tenant: String,
    key: String,
    key_id: String,
    store: TestStore,
}

impl World {
    async fn new(engine: Engine) -> Self {
        let clock = Clock::fake(Time::from_millis(1_800_000_000_000));
        let store = TestStore::on_with_clock(engine, MIGRATIONS, clock.clone()).await;
        let there = store.db.clone();
        Self::of(store, there).await
    }

    async fn of(store: TestStore, there: Db) -> Self {
        let (config, clock) = (AccessConfig::default(), store.clock.clone());
        let statements = Store::new(store.db.dialect());
        let here = Authenticator::new(store.db.clone(), clock.clone(), statements, &config);
        let there = Service::new(there, clock, &config);
        let tenant = there.create_tenant("acme".to_owned()).await.unwrap().id;
        let key = there.mint_key(&tenant, None).await.unwrap();
        World {
            here,
            there,
            tenant,
            key: key.api_key,
            key_id: key.id,
            store,
        }
    }

    fn recall(&self, now: Instant) -> Result<Known> {
        let shown = Shown {
            key: Some(&self.key),
            tenant: None,
        };
        self.here.know(shown, now)
    }

    /// Whether memory was enough, and who it is.
    async fn enter(&self, now: Instant) -> Result<(bool, Principal)> {
        match self.recall(now)? {
            Known::Caller(principal) => Ok((true, principal)),
            Known::Ask(question) => Ok((false, self.here.ask(question, now).await?)),
        }
    }
}

#[every_engine]
async fn a_key_is_looked_up_once_and_refreshed_by_one_of_its_users(engine: Engine) {
    let world = World::new(engine).await;
    let start = Instant::now();
    let (from_memory, principal) = world.enter(start).await.unwrap();
    assert!(!from_memory);
    assert_eq!(&*principal.tenant, world.tenant);
    assert!(world.enter(start).await.unwrap().0);
    let late = start + REFRESH;
    let Ok(Known::Ask(question)) = world.recall(late) else {
        panic!("nobody refreshes")
    };
    assert!(world.enter(late).await.unwrap().0, "the others go on");
    world.here.ask(question, late).await.unwrap();
    assert!(world.enter(start + TTL).await.unwrap().0);
}

#[every_engine]
async fn a_key_that_another_process_revoked_is_good_for_seconds_only(engine: Engine) {
    let world = World::new(engine).await;
    let start = Instant::now();
    world.enter(start).await.unwrap();
    let revoked = world.there.revoke_key(&world.tenant, &world.key_id).await;
    revoked.unwrap();
    assert!(world.enter(start).await.is_ok());
    let late = world.enter(start + TTL).await;
    assert!(matches!(late, Err(Error::WrongKey)));
}

#[every_engine]
async fn a_wrong_key_asks_the_store_once(engine: Engine) {
    let world = World::new(engine).await;
    let start = Instant::now();
    world
        .there
        .revoke_key(&world.tenant, &world.key_id)
        .await
        .unwrap();
    assert!(matches!(world.recall(start), Ok(Known::Ask(_))));
    assert!(matches!(world.enter(start).await, Err(Error::WrongKey)));
    assert!(matches!(world.recall(start), Err(Error::WrongKey)));
    assert!(matches!(world.recall(start + TTL), Ok(Known::Ask(_))));
}

#[every_engine]
async fn a_store_that_is_away_for_a_moment_shuts_nobody_out(engine: Engine) {
    let world = World::new(engine).await;
    let start = Instant::now();
    world.enter(start).await.unwrap();
    world.store.db.clone().close().await;
    assert!(world.enter(start + REFRESH).await.is_ok());
    let late = world.enter(start + TTL).await;
    assert!(matches!(late, Err(Error::Store(_))));
}

/// All at one instant, so that nothing is asked again because it is old.
#[every_engine]
async fn a_key_of_which_a_revocation_was_heard_is_asked_for_again(engine: Engine) {
    let world = World::new(engine).await;
    let start = Instant::now();
    world.enter(start).await.unwrap();
    world.here.forget("another key");
    assert!(world.enter(start).await.unwrap().0);
    world.here.forget(&world.key_id);
    assert!(!world.enter(start).await.unwrap().0);
    let revoked = world.there.revoke_key(&world.tenant, &world.key_id).await;
    revoked.unwrap();
    assert!(world.enter(start).await.unwrap().0);
    world.here.forget(&world.key_id);
    assert!(matches!(world.enter(start).await, Err(Error::WrongKey)));
}

#[every_engine]
async fn after_a_doubt_each_key_is_asked_for_again_by_one_of_its_users(engine: Engine) {
    let world = World::new(engine).await;
    let start = Instant::now();
    world.enter(start).await.unwrap();
    world.here.doubt();
    let Ok(Known::Ask(question)) = world.recall(start) else {
        panic!("nobody asks")
    };
    assert!(world.enter(start).await.unwrap().0, "the others go on");
    let later = Instant::now();
    world.here.ask(question, later).await.unwrap();
    assert!(world.enter(later).await.unwrap().0);
    // Also if the store cannot say just now.
    world.here.doubt();
    world.store.db.clone().close().await;
    world.enter(later).await.unwrap();
}

/// PostgreSQL tells the other processes.
#[every_engine(postgres)]
async fn a_key_that_another_process_revoked_is_good_until_that_is_heard(engine: Engine) {
    let store = TestStore::on(engine, MIGRATIONS).await;
    let there = store.second().await;
    let world = World::of(store, there).await;
    let told = || async { (world.store.db.hints().reach() == Reach::Told).then_some(()) };
    eventually("it listens", told).await;
    let hears = world.here.hear_revocations();
    let revocation = async {
        let now = Instant::now();
        world.enter(now).await.unwrap();
        let revoked = world.there.revoke_key(&world.tenant, &world.key_id).await;
        revoked.unwrap();
        let refused = || async { world.enter(now).await.is_err().then_some(()) };
        eventually("the key is refused", refused).await;
    };
    // It begins to hear before the key is used: nothing is in doubt after that.
    tokio::select! {
        biased;
        () = hears => panic!("the store is open"),
        () = revocation => {}
    }
}

#[every_engine]
async fn a_session_finds_its_keys_holder_until_the_key_is_revoked(engine: Engine) {
    let world = World::new(engine).await;
    let (principal, handle) = world.there.sign_in(&world.key, b"secret").await.unwrap();
    assert_eq!(&*principal.tenant, world.tenant);
    assert!(!handle.to_string().contains(&world.key));
    let again = world.there.resume(&handle, b"secret", None).await.unwrap();
    assert_eq!(again.key_id.as_deref(), Some(world.key_id.as_str()));
    // It belongs to its tenant, as the key does.
    let other = world.there.resume(&handle, b"secret", Some("default"));
    assert!(matches!(other.await, Err(Error::TenantNotChosen)));
    let revoked = world.there.revoke_key(&world.tenant, &world.key_id).await;
    revoked.unwrap();
    let over = world.there.resume(&handle, b"secret", None).await;
    assert!(matches!(over, Err(Error::WrongKey)));
    assert!(world.there.sign_in("tw_guess", b"secret").await.is_err());
}

#[tokio::test]
async fn a_process_asks_itself_by_a_key_of_its_own_beside_the_operators() {
    let world = World::new(Engine::Sqlite).await;
    let config = AccessConfig {
        admin_key: Some("hunter2".to_owned()),
        own_key: Some("hunter4".to_owned()),
        ..AccessConfig::default()
    };
    let access = Service::new(world.store.db.clone(), world.store.clock.clone(), &config);
    for key in ["hunter2", "hunter4"] {
        let (principal, _) = access.sign_in(key, b"secret").await.unwrap();
        assert!(principal.scopes.has(Scope::Admin), "{key}");
    }
    // Another process's key is nobody's here.
    let other = access.sign_in("hunter5", b"secret").await;
    assert!(matches!(other, Err(Error::WrongKey)));
}

#[every_engine]
async fn a_session_of_the_operator_ends_when_the_configured_key_is_another(engine: Engine) {
    let world = World::new(engine).await;
    let with = |key: Option<&str>, open: bool| {
        let config = AccessConfig {
            admin_key: key.map(str::to_owned),
            open,
            ..AccessConfig::default()
        };
        Service::new(world.store.db.clone(), world.store.clock.clone(), &config)
    };
    let before = with(Some("hunter2"), false);
    let (principal, handle) = before.sign_in("hunter2", b"secret").await.unwrap();
    assert!(principal.scopes.has(Scope::Admin));
    let chosen = before.resume(&handle, b"secret", Some(&world.tenant)).await;
    assert_eq!(&*chosen.unwrap().tenant, world.tenant);
    let unknown = before.resume(&handle, b"secret", Some("nobody")).await;
    assert!(matches!(unknown, Err(Error::UnknownTenant(_))));
    // Another installation's session, and one from before the key was changed.
    assert!(before.resume(&handle, b"other", None).await.is_err());
    let after = with(Some("hunter3"), false);
    assert!(after.resume(&handle, b"secret", None).await.is_err());
    // The open mode's sessions are good in the open mode alone.
    let open = KeyHandle::OPEN;
    assert!(
        with(None, true)
            .resume(&open, b"secret", None)
            .await
            .is_ok()
    );
    assert!(after.resume(&open, b"secret", None).await.is_err());
}

/// The key of an instance that the other process made.
struct Leased {
    world: World,
    key_id: String,
}

const MINUTE: std::time::Duration = std::time::Duration::from_mins(1);

impl Leased {
    async fn new(engine: Engine, thread: Option<&'static str>) -> Self {
        let mut world = World::new(engine).await;
        let (there, tenant) = (world.there.clone(), world.tenant.clone());
        let expires_at = world.store.clock.now().plus(MINUTE);
        let (id, key) = world
            .store
            .db
            .transact("test.mint", move |tx| {
                let (there, tenant) = (there.clone(), tenant.clone());
                Box::pin(async move {
                    let key = crate::InstanceKey {
                        tenant: &tenant,
                        bound: Bound {
                            worker: "w".into(),
                            thread: thread.map(Arc::from),
                        },
                        expires_at,
                    };
                    there.mint_instance_in(tx, &key).await
                })
            })
            .await
            .unwrap();
        world.key = key;
        Leased { world, key_id: id }
    }

    /// The lease goes on for a minute from now, which nobody tells.
    async fn renew(&self, thread: &'static str) {
        let (there, tenant) = (self.world.there.clone(), self.world.tenant.clone());
        let (id, expires_at) = (
            self.key_id.clone(),
            self.world.store.clock.now().plus(MINUTE),
        );
        let renewed = self.world.store.db.transact("test.renew", move |tx| {
            let (there, tenant, id) = (there.clone(), tenant.clone(), id.clone());
            Box::pin(async move {
                let key = crate::KeyRenewal {
                    tenant: &tenant,
                    id: &id,
                    thread: Some(thread),
                    expires_at,
                };
                there.renew_instances_in(tx, &[key]).await
            })
        });
        renewed.await.unwrap();
    }
}

#[every_engine]
async fn an_instances_key_is_good_for_as_long_as_it_is_renewed(engine: Engine) {
    let leased = Leased::new(engine, Some("t")).await;
    let (world, start) = (&leased.world, Instant::now());
    let (_, principal) = world.enter(start).await.unwrap();
    assert_eq!(principal.scopes.to_string(), "agent");
    let bound = principal.bound.unwrap();
    assert_eq!((&*bound.worker, bound.thread.as_deref()), ("w", Some("t")));
    assert!(world.enter(start).await.unwrap().0, "it is remembered");
    leased.renew("t").await;
    world
        .store
        .clock
        .advance(MINUTE - std::time::Duration::from_secs(1));
    leased.renew("t").await;
    world.store.clock.advance(std::time::Duration::from_secs(1));
    // What is remembered says that it is over; what stands in the store goes before it.
    assert!(!world.enter(start).await.unwrap().0);
    assert!(world.enter(start).await.unwrap().0);
    world.store.clock.advance(MINUTE);
    assert!(matches!(world.enter(start).await, Err(Error::Ended)));
    leased.renew("t").await;
    assert!(
        world.enter(start).await.is_ok(),
        "its lease was taken up again"
    );
}

#[every_engine]
async fn an_instance_has_its_thread_from_the_moment_at_which_it_gets_it(engine: Engine) {
    let leased = Leased::new(engine, None).await;
    let (world, start) = (&leased.world, Instant::now());
    let (_, principal) = world.enter(start).await.unwrap();
    assert_eq!(principal.bound.unwrap().thread, None);
    leased.renew("t").await;
    let (_, principal) = world.enter(start).await.unwrap();
    assert_eq!(principal.bound.unwrap().thread.as_deref(), Some("t"));
}

#[every_engine]
async fn an_instances_key_that_is_remembered_does_not_outlive_its_lease_with_the_store_away(
    engine: Engine,
) {
    let leased = Leased::new(engine, Some("t")).await;
    let (world, start) = (&leased.world, Instant::now());
    world.enter(start).await.unwrap();
    world.store.db.clone().close().await;
    world.store.clock.advance(MINUTE);
    assert!(matches!(world.enter(start).await, Err(Error::Store(_))));
}
