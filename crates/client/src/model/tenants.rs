//! Tenants and their keys.

use std::fmt;

use serde::{Deserialize, Serialize};
use tidewire_core::Time;

/// A tenant that was just made, with its first key. The key is shown only here.
#[derive(Clone, Serialize, Deserialize)]
pub struct NewTenant {
    pub id: String,
    pub name: String,
    pub api_key: String,
    pub created_at: Time,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tenant {
    pub id: String,
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub created_at: Option<Time>,
}

#[derive(Deserialize)]
pub(crate) struct TenantsPage {
    pub tenants: Vec<Tenant>,
    #[serde(default)]
    pub next_cursor: Option<String>,
}

/// A key that was just made. It is shown only here.
#[derive(Clone, Serialize, Deserialize)]
pub struct NewKey {
    pub id: String,
    pub api_key: String,
    #[serde(default)]
    pub scopes: Vec<String>,
}

/// A key without its secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Key {
    pub id: String,
    #[serde(default)]
    pub scopes: Vec<String>,
    #[serde(default)]
    pub created_at: Option<Time>,
    #[serde(default)]
    pub last_used_at: Option<Time>,
}

#[derive(Deserialize)]
pub(crate) struct KeysPage {
    pub keys: Vec<Key>,
    #[serde(default)]
    pub next_cursor: Option<String>,
}

// Secrets stay out of logs, also by accident.
impl fmt::Debug for NewTenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewTenant")
            .field("id", &self.id)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewKey")
            .field("id", &self.id)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}
