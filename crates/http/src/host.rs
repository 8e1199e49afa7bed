//! In open mode nothing but the address protects the server, and a web page can reach it through a
//! browser on this machine in two ways. It can point a name of its own at 127.0.0.1 (DNS
//! rebinding): the browser then sends that name as host. Or it can send what needs no leave of CORS,
//! such as a POST without a body: the browser then names the page's origin. Both are refused.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::extract::Request;
use http::{HeaderValue, header, uri::Authority};
use tidewire_core::{Kind, Problem, problem::clip};

use crate::Origin;

/// The host that the request names must be this machine's loopback, and so must the page that sends
/// it, unless `origins` allow it.
pub(crate) fn check(request: &Request, origins: &[Origin]) -> Result<(), Problem> {
    check_host(request)?;
    match request.headers().get(header::ORIGIN) {
        Some(origin) => check_origin(origin, origins),
        None => Ok(()),
    }
}

fn check_origin(origin: &HeaderValue, origins: &[Origin]) -> Result<(), Problem> {
    let text = origin.to_str().unwrap_or_default();
    let local = text
        .split_once("://")
        .is_some_and(|(_, host)| is_loopback(host));
    if local || origins.iter().any(|allowed| allowed.covers(origin)) {
        return Ok(());
    }
    Err(Problem::new(
        Kind::Forbidden,
        format!(
            "the request comes from a web page of `{}`, and a server without keys answers only pages of this machine: \
             name the page in --cors-origins, or set an admin key",
            clip(text)
        ),
    ))
}

fn check_host(request: &Request) -> Result<(), Problem> {
    let authority = request.uri().authority().map(Authority::as_str);
    let mut headers = request.headers().get_all(header::HOST).iter();
    let header = headers
        .next()
        .map(|value| value.to_str().unwrap_or_default());
    let named = authority.or(header).unwrap_or_default();
    // Both where both are there (HTTP/1.1 with an absolute target): either could be the rebound one.
    let all_loopback = is_loopback(named) && header.is_none_or(is_loopback);
    if all_loopback && headers.next().is_none() {
        return Ok(());
    }
    Err(Problem::new(
        Kind::Forbidden,
        format!(
            "the host `{}` is not a loopback name, and a server without keys answers only those (a web page could \
             reach it through DNS rebinding): use http://localhost or http://127.0.0.1, or set an admin key",
            clip(header.filter(|host| !is_loopback(host)).unwrap_or(named))
        ),
    ))
}

/// `localhost`, `*.localhost`, `127.0.0.0/8` or `[::1]`, with any port.
fn is_loopback(host: &str) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else {
            return false;
        };
        return address.parse() == Ok(Ipv6Addr::LOCALHOST)
            && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    let name = match host.split_once(':') {
        Some((name, port)) if is_port(port) => name,
        Some(_) => return false,
        None => host,
    };
    if let Ok(address) = name.parse::<Ipv4Addr>() {
        return address.is_loopback();
    }
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|digit| digit.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_loopback() {
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "localhost.",
            "app.localhost:1",
            "127.0.0.1",
            "127.1.2.3:80",
            "[::1]",
            "[::1]:8080",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "evillocalhost",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "[::2]:80",
            "[::1",
            "[::1]x",
            "localhost:80@evil",
            "0.0.0.0",
            "0177.0.0.1",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
