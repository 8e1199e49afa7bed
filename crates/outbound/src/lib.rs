//! The one HTTP client for other people's addresses: whatever calls a URL that somebody configured (an endpoint of a
//! trigger, a site, a fleet's target) calls it through here, and nothing else in the tree dials such an address.
//!
//! The danger is that the server stands where the caller does not: beside databases, metadata services and its own
//! operator's machines. So what decides is the address, and it decides at the last moment:
//!
//! - [`AddressPolicy`] says which addresses may be dialled: public ones, and what `--allow-subnet` opens.
//! - [`Target`] reads a URL once. What it says is what is checked, dialled and sent; no second parser sees the text.
//! - A name is looked up once for a connection ([`Resolve`]), all of its addresses are judged, and the sockets are opened
//!   to the judged addresses themselves: only the policy can make the type that `dial` takes. A name that answers
//!   differently a moment later changes nothing.
//! - [`Client`] sends a [`Request`] within one deadline, from the look-up to the last byte, and reads an [`Answer`] no
//!   further than its cap; or hands it on as it comes ([`Opened`]). No redirect is followed, no proxy of the environment is asked.
//! - [`Error`] tells by type what went wrong, in a sentence that may be shown to the person who configured the URL: no
//!   path, no query, no header, and no address that a name led to.
//!
//! It stands on hyper's connections, not on a ready-made client, for three things those do not offer: a limit on idle
//! connections in all, errors that name their phase, and a connection that is gone the moment its request is given up.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use tidewire_outbound::{Client, ClientOptions, Method, Request};
//!
//! let client = Client::new(ClientOptions::default())?;
//! let request = Request::new(Method::POST, "https://hooks.example.com/in")?
//!     .header("content-type", "application/json")?
//!     .body(r#"{"hello": "world"}"#)
//!     .timeout(Duration::from_secs(15));
//! let answer = client.send(request).await?;
//! println!("{} after {:?}", answer.status, answer.timings.total);
//! # Ok(())
//! # }
//! ```

mod answer;
mod body;
mod client;
mod connection;
mod dial;
mod error;
mod headers;
mod metrics;
mod opened;
mod policy;
mod pool;
mod request;
mod resolve;
mod target;
mod tls;

pub use answer::{Answer, Timings, retry_after};
pub use client::{Client, ClientOptions, SetupError};
pub use error::{BadAnswer, BadHeader, BadUrl, ConnectProblem, Error, Phase, TlsProblem};
pub use headers::{Reserved, check_header};
pub use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
pub use ipnet::IpNet;
pub use metrics::describe as describe_metrics;
pub use opened::{Opened, Streamed};
pub use policy::{AddressPolicy, BadSubnet, LOOPBACK, Purpose, Refusal, subnets};
pub use request::{DEFAULT_ANSWER_CAP, DEFAULT_TIMEOUT, Request};
pub use resolve::{Resolve, Resolving, SystemResolver, Unresolved};
pub use rustls::pki_types::CertificateDer;
pub use target::{Host, Target};
pub use tls::Roots;
