//! What every room of Tidewire shares and nobody owns: time, ids, problems, principals, cursors,
//! backoff and the limits of JSON. Pure: nothing here does I/O, and nothing here knows a capability.

pub mod backoff;
pub mod clock;
pub mod duration;
pub mod ids;
pub mod json;
pub mod name;
pub mod page;
pub mod principal;
pub mod problem;
pub mod time;

pub use clock::Clock;
pub use principal::{Bound, Principal, Scope, Scopes};
pub use problem::{FieldError, Kind, Problem};
pub use time::Time;
