//! Tenants, their keys, and how the operator sets this room up.

use std::fmt;

use serde::{Deserialize, Serialize};
use tidewire_core::{Scope, Scopes, Time, name};

/// Who owns rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Tenant {
    pub id: String,
    pub name: String,
    pub created_at: Time,
}

/// A tenant that was just made, with its first key: the only time that the key is shown.
#[derive(Serialize, utoipa::ToSchema)]
pub struct NewTenant {
    pub id: String,
    pub name: String,
    /// Has the scopes `read`, `write` and `worker`.
    pub api_key: String,
    pub created_at: Time,
}

/// A key as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ApiKey {
    pub id: String,
    pub scopes: Vec<Scope>,
    pub created_at: Time,
    /// To about half a minute.
    #[schema(required)]
    pub last_used_at: Option<Time>,
    /// Of an instance of an agent: the name under which it claims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// Of an instance: the thread that is its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<String>,
    /// Of an instance: until when the key is good, unless its lease goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
}

/// A key that was just minted: the only time that it is shown.
#[derive(Serialize, utoipa::ToSchema)]
pub struct NewKey {
    pub id: String,
    pub api_key: String,
    pub scopes: Vec<Scope>,
}

/// What a key gets when nobody says otherwise.
#[must_use]
pub fn default_scopes() -> Scopes {
    [Scope::Read, Scope::Write, Scope::Worker]
        .into_iter()
        .collect()
}

/// How the operator sets this room up. Its `Debug` says whether a key is set and never which.
#[derive(Clone, Default)]
pub struct AccessConfig {
    /// `--admin-key`: scope `admin`.
    pub admin_key: Option<String>,
    /// The key by which this process asks its own API, made at its start and told to nobody: scope `admin`.
    pub own_key: Option<String>,
    /// `AGENT_API_KEY`: scope `fleet`. Two while one takes the other's place.
    pub agent_api_keys: Vec<String>,
    /// Whether a request that shows no key is the operator's. The composition root decides it, and
    /// only for a server on a loopback address without an admin key. Keys in the store make no
    /// difference: a server would otherwise lock its operator out when the first tenant is made.
    pub open: bool,
}

/// No longer than this is any key that is shown or configured.
pub(crate) const KEY_MAX: usize = 256;

impl AccessConfig {
    /// What is wrong with the keys, before anything starts. A key that no header can carry could
    /// never be shown.
    pub fn check(&self) -> Result<(), String> {
        if self.agent_api_keys.len() > 2 {
            return Err(format!(
                "AGENT_API_KEY names {} keys: one, or while it is replaced two, with a comma between them",
                self.agent_api_keys.len()
            ));
        }
        let admin = self.admin_key.iter().map(|key| ("--admin-key", key));
        let agents = self.agent_api_keys.iter();
        for (setting, key) in admin.chain(agents.map(|key| ("AGENT_API_KEY", key))) {
            if key.is_empty() || key.len() > KEY_MAX {
                return Err(format!(
                    "{setting} must have 1 to {KEY_MAX} characters, it has {}: leave it out, or set a random text such as `openssl rand -hex 32` gives",
                    key.chars().count()
                ));
            }
            if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(format!(
                    "{setting} has a character that no header can carry: use visible ASCII characters without spaces"
                ));
            }
        }
        Ok(())
    }
}

impl fmt::Debug for AccessConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = |is_set: bool| if is_set { "set" } else { "not set" };
        f.debug_struct("AccessConfig")
            .field("admin_key", &set(self.admin_key.is_some()))
            .field("agent_api_keys", &set(!self.agent_api_keys.is_empty()))
            .field("open", &self.open)
            .finish()
    }
}

/// Checks a tenant's name.
pub(crate) fn check_name(text: &str) -> Result<(), crate::Error> {
    name::check_text(text, name::TYPE_MAX).map_err(|detail| crate::Error::Invalid {
        pointer: "/name",
        detail,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_no_header_can_carry_is_refused_before_the_start() {
        let with = |key: &str| AccessConfig {
            admin_key: Some(key.to_owned()),
            ..AccessConfig::default()
        };
        assert!(with("hunter2").check().is_ok());
        for bad in ["", "two words", "line\n", "schlüssel", &"x".repeat(257)] {
            let said = with(bad).check().unwrap_err();
            assert!(
                said.contains("--admin-key") && (bad.is_empty() || !said.contains(bad)),
                "{said}"
            );
        }
    }

    #[test]
    fn the_configuration_prints_no_key() {
        let config = AccessConfig {
            admin_key: Some("hunter2".to_owned()),
            agent_api_keys: vec!["hunter3".to_owned()],
            own_key: Some("hunter4".to_owned()),
            open: false,
        };
        assert!(!format!("{config:?}").contains("hunter"));
    }
}
