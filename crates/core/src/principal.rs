//! Who is asking: a tenant and what its key may do.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::problem::{Kind, Problem};

/// The tenant of the open mode, and the one that `admin` acts on unless it names another.
pub const DEFAULT_TENANT: &str = "default";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    Read,
    Write,
    Worker,
    Fleet,
    Admin,
    /// An instance of an agent; see [`Bound`].
    Agent,
}

impl Scope {
    pub const ALL: [Scope; 6] = [
        Scope::Read,
        Scope::Write,
        Scope::Worker,
        Scope::Fleet,
        Scope::Admin,
        Scope::Agent,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Write => "write",
            Scope::Worker => "worker",
            Scope::Fleet => "fleet",
            Scope::Admin => "admin",
            Scope::Agent => "agent",
        }
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Scope::ALL
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or_else(|| {
                format!("`{text}` is not a scope: read, write, worker, fleet, admin or agent")
            })
    }
}

/// A small set of scopes.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(u8);

impl Scopes {
    #[must_use]
    pub fn all() -> Self {
        Scope::ALL.into_iter().collect()
    }

    #[must_use]
    pub fn has(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u8) != 0
    }

    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.has(*scope))
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Scopes(
            scopes
                .into_iter()
                .fold(0, |bits, scope| bits | (1 << scope as u8)),
        )
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.iter().map(Scope::as_str).collect();
        f.write_str(&names.join(","))
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Scopes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',')
            .filter(|part| !part.is_empty())
            .map(str::parse)
            .collect()
    }
}

/// The authenticated caller of one request.
#[derive(Clone, Debug)]
pub struct Principal {
    pub tenant: Arc<str>,
    pub scopes: Scopes,
    /// The key that was shown; `None` in open mode and for the operator's own keys.
    pub key_id: Option<Arc<str>>,
    /// What the key is bound to, if it is an instance's.
    pub bound: Option<Bound>,
}

/// What an instance of an agent may work on: jobs that are kept for it, and one thread. Its key has the
/// scope `agent`, which opens nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The name under which it claims.
    pub worker: Arc<str>,
    /// Its thread; `None` while it waits for one.
    pub thread: Option<Arc<str>>,
}

impl Principal {
    /// The problem of a caller whose key lacks `scope`; `admin` may do everything.
    pub fn require(&self, scope: Scope) -> Result<(), Problem> {
        if self.scopes.has(scope) || self.scopes.has(Scope::Admin) {
            return Ok(());
        }
        Err(Problem::new(
            Kind::Forbidden,
            format!(
                "this needs the scope `{}`, and the key has `{}`: use another key or have one minted",
                scope.as_str(),
                self.scopes
            ),
        ))
    }

    /// The same for what is about one thread. An instance may do it to its own without any other scope,
    /// and for it there are no others.
    pub fn require_on_thread(&self, scope: Scope, thread: &str) -> Result<(), Problem> {
        match self.bound.as_ref().map(|bound| bound.thread.as_deref()) {
            Some(Some(own)) if own == thread => Ok(()),
            Some(Some(_)) => Err(Problem::not_found("thread", thread)),
            Some(None) | None => self.require(scope),
        }
    }

    /// The same for the word of who has a job. An instance may give it from when it has a thread.
    pub fn require_worker(&self) -> Result<(), Problem> {
        match &self.bound {
            Some(Bound {
                thread: Some(_), ..
            }) => Ok(()),
            _ => self.require(Scope::Worker),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_come_back_from_their_text() {
        let scopes: Scopes = "write,read".parse().unwrap();
        assert_eq!(scopes.to_string(), "read,write");
        assert!(!scopes.has(Scope::Admin));
        assert!("read,root".parse::<Scopes>().is_err());
    }

    #[test]
    fn admin_may_do_everything_and_others_only_theirs() {
        let principal = |scopes: &str| Principal {
            tenant: DEFAULT_TENANT.into(),
            scopes: scopes.parse().unwrap(),
            key_id: None,
            bound: None,
        };
        assert!(principal("admin").require(Scope::Worker).is_ok());
        assert!(principal("read").require(Scope::Read).is_ok());
        assert_eq!(
            principal("read").require(Scope::Write).unwrap_err().kind,
            Kind::Forbidden
        );
    }

    #[test]
    fn an_instance_may_work_on_its_own_thread_alone() {
        let instance = |thread: Option<&str>| Principal {
            tenant: DEFAULT_TENANT.into(),
            scopes: "agent".parse().unwrap(),
            key_id: None,
            bound: Some(Bound {
                worker: "w".into(),
                thread: thread.map(Arc::from),
            }),
        };
        let own = instance(Some("t"));
        assert!(own.require_on_thread(Scope::Read, "t").is_ok());
        assert!(own.require_worker().is_ok());
        let other = own.require_on_thread(Scope::Read, "u").unwrap_err();
        assert_eq!(other.kind, Kind::NotFound);
        for scope in Scope::ALL
            .into_iter()
            .filter(|scope| *scope != Scope::Agent)
        {
            assert_eq!(own.require(scope).unwrap_err().kind, Kind::Forbidden);
        }
        let warm = instance(None);
        let refused = warm.require_on_thread(Scope::Read, "t").unwrap_err();
        assert_eq!(refused.kind, Kind::Forbidden);
        assert!(warm.require_worker().is_err());
    }
}
