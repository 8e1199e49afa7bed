//! What can go wrong, told apart by type. The sentences are for the person who configured the URL: they hold its host, but
//! no path, query or header (which may be secrets), and no address that a name led to (which may tell of the inside of a
//! network; the fields have it, for the operator's log).

use std::{fmt, io, time::Duration};

use http::{HeaderName, Method};
use thiserror::Error;

use crate::{Refusal, target::LONGEST_URL};

#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Error {
    #[error("{0}")]
    BadUrl(BadUrl),
    #[error("the header `{name}` {why}")]
    BadHeader { name: String, why: BadHeader },
    #[error("the method {0} is not one that a request is sent with")]
    BadMethod(Method),
    /// The address policy forbids it; nothing was sent.
    #[error("{}", refused(host, refusal))]
    Refused { host: String, refusal: Refusal },
    #[error("the name {name} was not found: {detail}; check its spelling and its DNS records")]
    UnresolvedName { name: String, detail: String },
    #[error("cannot connect to {origin}: {problem}")]
    Connect {
        /// Host and port.
        origin: String,
        problem: ConnectProblem,
    },
    #[error("no secure connection to {host}: {problem}")]
    Tls { host: String, problem: TlsProblem },
    #[error("no answer within {}: {phase}", tidewire_core::duration::format(*after))]
    Timeout {
        /// What was under way when the time was over.
        phase: Phase,
        after: Duration,
    },
    #[error("{host} {why}")]
    BadAnswer { host: String, why: BadAnswer },
}

impl Error {
    /// A short name, for labels of metrics and for stored records.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Error::BadUrl(_) => "bad_url",
            Error::BadHeader { .. } => "bad_header",
            Error::BadMethod(_) => "bad_method",
            Error::Refused { .. } => "refused",
            Error::UnresolvedName { .. } => "unresolved_name",
            Error::Connect { .. } => "connect",
            Error::Tls { .. } => "tls",
            Error::Timeout { .. } => "timeout",
            Error::BadAnswer { .. } => "bad_answer",
        }
    }

    /// Whether the endpoint may have seen the request, and so may have carried it out.
    #[must_use]
    pub fn may_have_arrived(&self) -> bool {
        match self {
            Error::BadAnswer { .. } => true,
            Error::Timeout { phase, .. } => matches!(phase, Phase::Answer | Phase::Body),
            _ => false,
        }
    }
}

fn refused(host: &str, refusal: &Refusal) -> String {
    let rule =
        "only public addresses are called, and those that the operator opens with --allow-subnet";
    if host == refusal.address.to_string() {
        format!("{refusal}: {rule}")
    } else {
        format!("the name {host} leads to {}: {rule}", refusal.kind())
    }
}

/// What is wrong with a URL.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BadUrl {
    #[error("the URL must begin with http:// or https://")]
    Scheme,
    #[error("the URL cannot be read: {0}")]
    Syntax(String),
    #[error("the URL holds the character {0:?}: percent-encode it or leave it out")]
    Character(char),
    #[error(
        "the URL holds a user or a password: URLs are stored and shown, so put them into a header"
    )]
    Credentials,
    #[error("the URL's host is neither an address nor a name that DNS can hold")]
    Host,
    #[error("the URL's port is 0: nothing can listen there")]
    Port,
    #[error("the URL's path or query holds a character that HTTP cannot send: percent-encode it")]
    Path,
    #[error("the URL has {length} bytes: at most {LONGEST_URL} are taken")]
    TooLong { length: usize },
}

/// What is wrong with a header of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BadHeader {
    #[error("has a name that HTTP does not allow")]
    Name,
    #[error("has a value with characters that HTTP does not allow (line breaks?)")]
    Value,
    /// It is the connection's, not the request's.
    #[error("is set by the client itself and cannot be overridden")]
    Connection,
    /// The caller keeps it for itself.
    #[error("is set by Tidewire and cannot be overridden")]
    Reserved,
}

/// Why no connection came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectProblem(pub io::ErrorKind);

impl fmt::Display for ConnectProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            io::ErrorKind::ConnectionRefused => {
                "connection refused: is it running, and is the port right?"
            }
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => {
                "it closed the connection at once"
            }
            io::ErrorKind::TimedOut => "it did not answer",
            io::ErrorKind::HostUnreachable => "host unreachable",
            io::ErrorKind::NetworkUnreachable => "network unreachable",
            io::ErrorKind::NetworkDown => "network down",
            io::ErrorKind::AddrNotAvailable => "no local address or port is left to connect from",
            io::ErrorKind::PermissionDenied => "this machine forbids it",
            other => return other.fmt(f),
        })
    }
}

/// Why no TLS came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TlsProblem {
    #[error("its certificate has expired")]
    Expired,
    #[error("its certificate is not valid yet")]
    NotYetValid,
    #[error("its certificate is for another name")]
    WrongName,
    #[error("its certificate is signed by nobody that is trusted here")]
    UnknownIssuer,
    #[error("its certificate has been revoked")]
    Revoked,
    #[error("its certificate cannot be used")]
    BadCertificate,
    #[error("it asks for a client certificate")]
    ClientCertificate,
    #[error("it refused the handshake")]
    Rejected,
    #[error("it does not speak TLS on this port")]
    NotTls,
    #[error("it closed the connection during the handshake")]
    Closed,
    #[error("the handshake failed")]
    Handshake,
}

/// What a request was waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    Resolve,
    Connect,
    Tls,
    /// Sending the request and waiting for the answer's head.
    Answer,
    Body,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Resolve => "still looking up the name",
            Phase::Connect => "still connecting",
            Phase::Tls => "still in the TLS handshake",
            Phase::Answer => "still waiting for the answer to begin",
            Phase::Body => "the answer began and has not ended",
        })
    }
}

/// What was wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BadAnswer {
    /// Before a whole head had come. On a kept connection that may be the peer's idle time-out, met by chance.
    #[error("closed the connection without an answer")]
    Closed { reused: bool },
    #[error("broke off in the middle of its answer")]
    Cut,
    #[error("sent a head that is too large")]
    HeadTooLarge,
    #[error("sent something that is not HTTP")]
    NotHttp,
    #[error("ended the HTTP/2 stream before its answer was whole")]
    Stream,
    #[error("switched to another protocol, which nobody asked for")]
    Upgrade,
    #[error("sent a body that is not the gzip it claims to be")]
    NotGzip,
    /// Of answers that are handed on as they come: what is cut would look whole.
    #[error("sent more than the {cap} bytes that are taken")]
    TooLong { cap: usize },
}

/// For [`Error::BadHeader`], whatever was given for a name.
pub(crate) fn bad_header(name: impl fmt::Display, why: BadHeader) -> Error {
    let name = name.to_string().chars().take(64).collect();
    Error::BadHeader { name, why }
}

pub(crate) fn bad_named_header(name: &HeaderName, why: BadHeader) -> Error {
    bad_header(name.as_str(), why)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::{AddressPolicy, Host, Target};

    #[test]
    fn a_refused_literal_is_named() {
        let target = Target::parse("http://169.254.169.254/latest/meta-data").unwrap();
        let error = AddressPolicy::public().check_target(&target).unwrap_err();
        assert_eq!(
            error.to_string(),
            "169.254.169.254 is a link-local address (169.254.0.0/16): only public addresses are called, and those \
             that the operator opens with --allow-subnet"
        );
        let target = Target::parse("http://[::ffff:10.0.0.7]/").unwrap();
        let error = AddressPolicy::public().check_target(&target).unwrap_err();
        assert!(
            error.to_string().starts_with(
                "::ffff:10.0.0.7 leads to 10.0.0.7, a private address (10.0.0.0/8): only"
            ),
            "{error}"
        );
    }

    #[test]
    fn what_a_name_leads_to_is_not_told() {
        for (address, kind) in [
            ("10.20.30.40", "a private address (10.0.0.0/8)"),
            (
                "::ffff:10.20.30.40",
                "an IPv6 form of a private address (10.0.0.0/8)",
            ),
        ] {
            let address: IpAddr = address.parse().unwrap();
            let host = Host::Name("intranet.example".into());
            let error = AddressPolicy::public()
                .admit(&host, &[address])
                .unwrap_err();
            let sentence = error.to_string();
            assert!(
                sentence.starts_with(&format!("the name intranet.example leads to {kind}: only")),
                "{sentence}"
            );
            assert!(!sentence.contains("20.30"), "{sentence}");
        }
    }

    #[test]
    fn times_are_shown_as_settings_write_them() {
        let error = Error::Timeout {
            phase: Phase::Connect,
            after: Duration::from_millis(1_500),
        };
        assert_eq!(
            error.to_string(),
            "no answer within 1500ms: still connecting"
        );
    }
}
