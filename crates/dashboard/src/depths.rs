//! How deep a tenant's queues are, asked for on behalf of everybody who looks. The store walks what
//! waits to say it, so an answer is kept for many times as long as it took: however many people look
//! at a long queue, and however often, counting it stays a small part of the store's work.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tidewire_jobs::{Error, Jobs, QueueDepth};

/// An answer is kept for so many times as long as it took, and for a second at least.
const TIMES: u32 = 20;
const AT_LEAST: Duration = Duration::from_secs(1);
/// Tenants that are remembered; past it, memory starts anew.
const TENANTS: usize = 1000;

#[derive(Default)]
pub(crate) struct Depths {
    tenants: Mutex<HashMap<Arc<str>, Arc<Place>>>,
}

/// Locked while the store is asked, so that others wait for the same answer.
type Place = tokio::sync::Mutex<Option<Known>>;

struct Known {
    depths: Vec<QueueDepth>,
    until: Instant,
}

impl Depths {
    pub async fn of(&self, jobs: &Jobs, tenant: &Arc<str>) -> Result<Vec<QueueDepth>, Error> {
        let place = {
            let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
            if tenants.len() >= TENANTS && !tenants.contains_key(tenant) {
                tenants.clear();
            }
            Arc::clone(tenants.entry(Arc::clone(tenant)).or_default())
        };
        let mut known = place.lock().await;
        let asked = Instant::now();
        if let Some(known) = known.as_ref().filter(|known| asked < known.until) {
            return Ok(known.depths.clone());
        }
        let depths = jobs.depths(tenant).await?;
        let keep = (asked.elapsed() * TIMES).max(AT_LEAST);
        *known = Some(Known {
            depths: depths.clone(),
            until: Instant::now() + keep,
        });
        Ok(depths)
    }
}
