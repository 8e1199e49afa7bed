//! Who may do what: tenants, their API keys and scopes, and request keys (`Idempotency-Key`).
//!
//! The tables `tenants`, `api_keys` and `request_keys` are authoritative, save for the operator's
//! own keys, which come from the configuration ([`AccessConfig`]). A key is stored by its hash and
//! shown once, when it is minted. What a request may do is settled before its handler runs: the
//! layer puts a `Principal` into the request, and handlers ask it for the scope that they need. Keys of
//! agents' instances are bound, and are made and renewed by whoever keeps their leases ([`InstanceKey`]).

mod authenticator;
mod cache;
mod error;
mod handle;
pub mod http;
mod instances;
mod last_used;
mod migrations;
mod model;
mod request_keys;
mod secret;
mod service;
mod store;
pub mod worker;

pub use self::http::{Authenticate, routes};
pub use error::{Error, Result};
pub use handle::KeyHandle;
pub use instances::InstanceKey;
pub use migrations::MIGRATIONS;
pub use model::{AccessConfig, ApiKey, NewKey, NewTenant, Tenant};
pub use request_keys::{Answer, Answered, KEPT, Request, RequestKeys};
pub use service::{Page, PageOf, Service};
pub use store::KeyRenewal;
