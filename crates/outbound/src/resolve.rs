//! Names to addresses. What is found is judged by the client, whoever found it.

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Semaphore, watch};

/// What is going to be all addresses of a name.
pub type Resolving<'a> = Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, Unresolved>> + Send + 'a>>;

/// Looks up names. It is asked once for each connection, and what it answers is what is judged and dialled; an answer
/// without addresses counts as no answer. `name` is in ASCII and lower case, perhaps with a trailing dot.
pub trait Resolve: Send + Sync + 'static {
    fn resolve<'a>(&'a self, name: &'a str) -> Resolving<'a>;
}

/// Why a name has no address, in a few words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unresolved(pub String);

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unresolved {}

/// The operating system's resolver waits on a thread until it has an answer or gives up, and cannot be stopped. This many
/// threads, of the 512 that the runtime has for such things, may wait at once; whoever comes then waits within its own
/// deadline.
const LOOKUPS_AT_ONCE: usize = 128;

/// The operating system's resolver, with its hosts file and its settings. Nothing is kept once it is answered, but those
/// who ask for a name while it is being looked up share the look-up: a name whose servers are dead costs one thread,
/// however many requests want it.
#[derive(Clone)]
pub struct SystemResolver {
    shared: Arc<Shared>,
}

struct Shared {
    under_way: Mutex<UnderWay>,
    turns: Semaphore,
}

type UnderWay = HashMap<Arc<str>, watch::Receiver<Option<Outcome>>>;

type Outcome = Result<Vec<IpAddr>, Unresolved>;

impl Default for SystemResolver {
    fn default() -> Self {
        Self {
            shared: Arc::new(Shared {
                under_way: Mutex::default(),
                turns: Semaphore::new(LOOKUPS_AT_ONCE),
            }),
        }
    }
}

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, name: &'a str) -> Resolving<'a> {
        Box::pin(async move {
            let mut outcome = self.join(name);
            match outcome.wait_for(Option::is_some).await {
                Ok(outcome) => outcome
                    .clone()
                    .unwrap_or_else(|| Err(Unresolved("no answer".to_owned()))),
                Err(_) => Err(Unresolved("the look-up was given up".to_owned())),
            }
        })
    }
}

impl SystemResolver {
    fn join(&self, name: &str) -> watch::Receiver<Option<Outcome>> {
        let mut under_way = self.shared.lock();
        if let Some(outcome) = under_way.get(name) {
            return outcome.clone();
        }
        let (answer, outcome) = watch::channel(None);
        let name: Arc<str> = name.into();
        under_way.insert(Arc::clone(&name), outcome.clone());
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let Ok(_turn) = shared.turns.acquire().await else {
                return;
            };
            {
                // Nobody joins while the list is held, and one receiver is the list's own.
                let mut under_way = shared.lock();
                if answer.receiver_count() <= 1 {
                    under_way.remove(&name);
                    return;
                }
            }
            let found = look_up(&name).await;
            // Off the list first: who comes from now on gets an answer that is fresher than this one.
            shared.lock().remove(&name);
            answer.send_replace(Some(found));
        });
        outcome
    }
}

async fn look_up(name: &str) -> Outcome {
    let found = tokio::net::lookup_host((name, 0))
        .await
        .map_err(|error| Unresolved(error.to_string()))?;
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in found.map(|socket| socket.ip()) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, UnderWay> {
        // Nothing panics while it is held, and a map is whole after any of its methods.
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_system_knows_its_own_name() {
        let resolver = SystemResolver::default();
        let found = resolver.resolve("localhost").await.unwrap();
        assert!(!found.is_empty());
        assert!(found.iter().all(IpAddr::is_loopback), "{found:?}");
        assert!(resolver.shared.lock().is_empty());
    }

    #[tokio::test]
    async fn those_who_ask_at_once_share_a_look_up() {
        let resolver = SystemResolver::default();
        let first = resolver.join("localhost");
        let second = resolver.join("localhost");
        assert!(first.same_channel(&second));
        assert_eq!(resolver.shared.lock().len(), 1);
    }

    #[tokio::test]
    async fn a_name_without_address_is_an_error() {
        let resolver = SystemResolver::default();
        assert!(resolver.resolve("no-such-name.invalid").await.is_err());
    }
}
