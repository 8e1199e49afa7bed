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
}

impl Scope {
    pub const ALL: [Scope; 5] = [
        Scope::Read,
        Scope::Write,
        Scope::Worker,
        Scope::Fleet,
        Scope::Admin,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Write => "write",
            Scope::Worker => "worker",
            Scope::Fleet => "fleet",
            Scope::Admin => "admin",
        }
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Scope::ALL
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or_else(|| format!("`{text}` is not a scope: read, write, worker, fleet or admin"))
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
        };
        assert!(principal("admin").require(Scope::Worker).is_ok());
        assert!(principal("read").require(Scope::Read).is_ok());
        assert_eq!(
            principal("read").require(Scope::Write).unwrap_err().kind,
            Kind::Forbidden
        );
    }
}
