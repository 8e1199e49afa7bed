//! A driver whose instances are entries of a list.

use std::{
    collections::{BTreeMap, HashSet},
    future::pending,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use tidewire_core::Time;
use tidewire_operator::{
    Driver, DriverError, Instance, Phase, Start, StopHow, Template, ThreadKey,
};
use tokio::sync::watch;

pub struct Stage {
    template: Template,
    instances: Mutex<BTreeMap<Arc<str>, Instance>>,
    changes: watch::Sender<u64>,
    starts: AtomicU32,
    failing: AtomicU32,
    hanging: Mutex<HashSet<String>>,
    stays: AtomicBool,
}

impl Stage {
    pub fn new(template: Template) -> Arc<Self> {
        Arc::new(Stage {
            template,
            instances: Mutex::default(),
            changes: watch::Sender::new(0),
            starts: AtomicU32::new(0),
            failing: AtomicU32::new(0),
            hanging: Mutex::default(),
            stays: AtomicBool::new(true),
        })
    }

    pub fn fail_starts(&self, count: u32) {
        self.failing.store(count, Ordering::SeqCst);
    }

    pub fn hang_on(&self, thread: &str) {
        self.hanging.lock().unwrap().insert(thread.to_owned());
    }

    pub fn goes_with_its_operator(&self) {
        self.stays.store(false, Ordering::SeqCst);
    }

    /// How many were tried.
    pub fn starts(&self) -> u32 {
        self.starts.load(Ordering::SeqCst)
    }

    pub fn instance_of(&self, thread: &str) -> Option<String> {
        self.named(|it| it.thread.as_deref() == Some(thread))
    }

    pub fn warm(&self) -> Option<String> {
        self.named(|it| it.thread.is_none())
    }

    pub fn names(&self) -> Vec<String> {
        self.all().keys().map(ToString::to_string).collect()
    }

    fn named(&self, is: impl Fn(&Instance) -> bool) -> Option<String> {
        let all = self.all();
        let found = all.values().find(|it| is(it));
        found.map(|it| it.name.to_string())
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Instance>> {
        self.instances.lock().unwrap()
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}

impl Driver for Stage {
    fn name(&self) -> &'static str {
        "stage"
    }

    fn outlives_operator(&self) -> bool {
        self.stays.load(Ordering::SeqCst)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn templates(&self) -> Vec<Template> {
        vec![self.template.clone()]
    }

    async fn instances(&self) -> Result<Vec<Instance>, DriverError> {
        Ok(self.all().values().cloned().collect())
    }

    async fn start(&self, start: Start) -> Result<(), DriverError> {
        assert!(!start.api_key.is_empty(), "it has a key");
        self.starts.fetch_add(1, Ordering::SeqCst);
        let thread = start.thread.as_deref().unwrap_or_default();
        let hangs = self.hanging.lock().unwrap().contains(thread);
        if hangs {
            pending::<()>().await;
        }
        let fails = |left: u32| left.checked_sub(1);
        let order = Ordering::SeqCst;
        if self.failing.fetch_update(order, order, fails).is_ok() {
            return Err(DriverError::Unavailable("no room".to_owned()));
        }
        self.all().insert(
            Arc::clone(&start.name),
            Instance {
                name: start.name,
                tenant: start.tenant,
                agent: start.agent,
                thread: start.thread,
                phase: Phase::Ready,
                started_at: Time::EPOCH,
                idle_timeout: None,
            },
        );
        self.changed();
        Ok(())
    }

    async fn bind(&self, name: &str, key: &ThreadKey) -> Result<(), DriverError> {
        if let Some(it) = self.all().get_mut(name) {
            it.thread = Some(Arc::clone(&key.thread));
        }
        self.changed();
        Ok(())
    }

    async fn stop(&self, name: &str, _: StopHow) -> Result<(), DriverError> {
        self.all().remove(name);
        self.changed();
        Ok(())
    }
}
