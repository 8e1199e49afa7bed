//! What every route shares: how a request is read ([`Json`], [`Query`], [`Path`], [`Caller`]), how an
//! error is answered ([`ApiError`]), how a stream is sent ([`sse`]), and the house around the
//! routes: request ids, panics, metrics, the access log, rewrites of old paths, OpenAPI, health
//! and the server loop ([`App`], [`serve`]).
//!
//! Nothing here knows a capability. The order in which a request meets the parts is fixed by
//! [`App`] alone.

mod app;
mod body;
mod caller;
mod endless;
mod health;
mod host;
mod json;
mod layer;
mod linger;
pub mod metrics;
mod openapi;
mod params;
mod problem;
mod public_url;
mod request_id;
mod rewrite;
mod serve;
pub mod sse;
mod strict;

pub use app::{App, AppService, Config, Origin};
pub use body::{BodyLimit, DEFAULT_BODY_LIMIT, body, json_type, media_type};
pub use caller::{Caller, IdempotencyKey, Operator};
pub use health::Health;
pub use json::{Capped, Json, Optional, parse};
pub use params::{Path, Query};
pub use problem::{ApiError, ProblemBody, answers};
pub use public_url::PublicUrl;
pub use request_id::RequestId;
pub use rewrite::{REWRITES, Rewrite};
pub use serve::{Limits, serve};
