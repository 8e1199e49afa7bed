//! Where and how a firing is delivered.

use std::{fmt, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::value::RawValue;
use tidewire_core::{json::escape, problem::clip};
use url::Url;

use super::{
    mask::MASK,
    read::{Faults, Members},
    secret::{self, Secret},
};
use crate::{
    raw::{self, Value},
    retry::RetryPolicy,
};

/// How long an attempt may take, to the last byte of the answer, where the config does not say.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);
const MIN_TIMEOUT: f64 = 0.1;
const MAX_TIMEOUT: f64 = 60.0;

const MAX_ATTEMPTS: u32 = 100;
/// Seconds: what a retry waits at least and at most. A week.
const MIN_WAIT: f64 = 0.01;
const MAX_WAIT: f64 = 604_800.0;

/// Characters of an endpoint.
const MAX_ENDPOINT: usize = 2048;
const MAX_HEADERS: usize = 50;
/// Bytes of one header's value, and of all names and values together.
const MAX_HEADER: usize = 4096;
const MAX_ALL_HEADERS: usize = 16 << 10;

/// A request to be made for each firing.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub endpoint: Endpoint,
    pub method: Method,
    pub headers: HeaderMap,
    pub timeout: Duration,
    pub retry: Retry,
    /// Every one of them signs. Empty: deliveries are not signed.
    pub secrets: Vec<Secret>,
}

/// What a config says about retries; the rest is the server's settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retry {
    pub max_attempts: Option<u32>,
    pub base: Option<Duration>,
    pub cap: Option<Duration>,
}

impl Retry {
    #[must_use]
    pub fn policy(self, settings: RetryPolicy) -> RetryPolicy {
        RetryPolicy {
            max_attempts: self.max_attempts.unwrap_or(settings.max_attempts),
            base: self.base.unwrap_or(settings.base),
            cap: self.cap.unwrap_or(settings.cap),
        }
    }
}

/// An http or https URL with a host.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

impl Endpoint {
    pub fn parse(text: &str) -> Result<Self, String> {
        let length = text.len();
        if length > MAX_ENDPOINT {
            return Err(format!(
                "has {length} characters, and {MAX_ENDPOINT} are the most"
            ));
        }
        // The reader of URLs drops some of these without a word and takes others for a host.
        if let Some(bad) = text
            .chars()
            .find(|c| c.is_control() || c.is_whitespace() || *c == '\\')
        {
            return Err(format!("has the character {bad:?}: percent-encode it"));
        }
        let wrong =
            |why: &str| format!("`{}` is no http or https URL with a host{why}", clip(text));
        let (scheme, rest) = text.split_once("://").unwrap_or_default();
        let known = ["http", "https"];
        // The reader of URLs would take the first name of the path for a host that is missing.
        if !known.iter().any(|known| known.eq_ignore_ascii_case(scheme)) || rest.starts_with('/') {
            return Err(wrong(""));
        }
        let url = Url::parse(text).map_err(|error| wrong(&format!(": {error}")))?;
        if url.host_str().is_none_or(str::is_empty) {
            return Err(wrong(""));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(
                "has a user name or a password, which would be shown: send an `authorization` header instead"
                    .to_owned(),
            );
        }
        if url.port() == Some(0) {
            return Err(wrong(": port 0 cannot be reached"));
        }
        Ok(Endpoint(url))
    }

    #[must_use]
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// What is one endpoint to circuits and limits: the URL without its query, which may differ from trigger to trigger.
    #[must_use]
    pub fn key(&self) -> String {
        let mut url = self.0.clone();
        url.set_query(None);
        url.set_fragment(None);
        url.into()
    }
}

// A query may carry a token: it stays out of logs.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({})", self.key())
    }
}

/// The members of a config that speak of a delivery.
pub(super) fn read(
    endpoint: Option<Endpoint>,
    config: &mut Members<'_>,
    faults: &mut Faults,
) -> Option<Delivery> {
    let method = config.parsed("http_method", faults, method);
    let headers = match config.take("headers") {
        Some(raw) => headers(raw, &config.pointer("headers"), faults),
        None => HeaderMap::new(),
    };
    let timeout = timeout(config, faults);
    let retry = retry(config, faults);
    let secrets = match config.take("secret") {
        Some(raw) => secret::read(raw, &config.pointer("secret"), faults),
        None => Vec::new(),
    };
    Some(Delivery {
        endpoint: endpoint?,
        method: method.unwrap_or(Method::POST),
        headers,
        timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
        retry,
        secrets,
    })
}

pub(super) fn timeout(config: &mut Members<'_>, faults: &mut Faults) -> Option<Duration> {
    config.seconds("timeout_seconds", MIN_TIMEOUT, MAX_TIMEOUT, faults)
}

pub(super) fn retry(config: &mut Members<'_>, faults: &mut Faults) -> Retry {
    let Some(raw) = config.take("retry") else {
        return Retry::default();
    };
    let mut members = Members::of(raw, config.pointer("retry"), faults);
    let retry = Retry {
        max_attempts: members.whole("max_attempts", 1, MAX_ATTEMPTS, faults),
        base: members.seconds("base_seconds", MIN_WAIT, MAX_WAIT, faults),
        cap: members.seconds("cap_seconds", MIN_WAIT, MAX_WAIT, faults),
    };
    if let (Some(base), Some(cap)) = (retry.base, retry.cap)
        && cap < base
    {
        faults.add(members.pointer("cap_seconds"), "is below `base_seconds`");
    }
    let known = ["max_attempts", "base_seconds", "cap_seconds"];
    members.close("`retry`", &known, faults);
    retry
}

fn method(text: &str) -> Result<Method, String> {
    [
        Method::GET,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
    ]
    .into_iter()
    .find(|method| method.as_str() == text)
    .ok_or_else(|| format!("`{}` is none of GET, POST, PUT, PATCH, DELETE", clip(text)))
}

/// Why a header cannot be set, if it cannot.
fn reserved(name: &str) -> Option<&'static str> {
    match name {
        "host" => Some("it is the endpoint's"),
        "content-length" => Some("it is the payload's"),
        // RFC 9110 7.6.1, and what older clients sent for it.
        "connection"
        | "http2-settings"
        | "keep-alive"
        | "proxy-authenticate"
        | "proxy-authorization"
        | "proxy-connection"
        | "te"
        | "trailer"
        | "transfer-encoding"
        | "upgrade" => Some("it is about one connection, not about the request"),
        "expect" => Some("the payload is sent without waiting"),
        _ if name.starts_with("webhook-") => Some("it is part of the signature"),
        _ if name.starts_with("x-tidewire-") => Some("it is set for each attempt"),
        _ => None,
    }
}

fn headers(raw: &RawValue, at: &str, faults: &mut Faults) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let Some(members) = raw::object(raw) else {
        let what = Value::of(raw).kind();
        faults.add(
            at,
            format!("must be an object of names and values, it is {what}"),
        );
        return headers;
    };
    if members.len() > MAX_HEADERS {
        let count = members.len();
        faults.add(
            at,
            format!("has {count} headers, and {MAX_HEADERS} are the most"),
        );
        return headers;
    }
    let mut bytes = 0;
    for (name, value) in members {
        let pointer = format!("{at}/{}", escape(&name));
        let Ok(header) = HeaderName::from_bytes(name.as_bytes()) else {
            faults.add(pointer, format!("`{}` is no header's name", clip(&name)));
            continue;
        };
        if let Some(why) = reserved(header.as_str()) {
            faults.add(pointer, format!("cannot be set: {why}"));
            continue;
        }
        let text = match Value::of(value) {
            Value::Text(text) => text,
            other => {
                faults.add(pointer, format!("must be a string, it is {}", other.kind()));
                continue;
            }
        };
        bytes += name.len() + text.len();
        match HeaderValue::from_str(&text) {
            _ if text.contains(MASK) => faults.add(
                pointer,
                "is what an answer shows instead of a secret: send the value",
            ),
            Ok(_) if text.len() > MAX_HEADER => {
                let length = text.len();
                faults.add(
                    pointer,
                    format!("has {length} bytes, and {MAX_HEADER} are the most"),
                );
            }
            Ok(_) if headers.contains_key(&header) => {
                faults.add(pointer, "is given twice: names have no case");
            }
            Ok(mut value) if text.is_ascii() => {
                value.set_sensitive(true);
                headers.insert(header, value);
            }
            _ => faults.add(pointer, "must be of visible ASCII characters and spaces"),
        }
    }
    if bytes > MAX_ALL_HEADERS {
        faults.add(
            at,
            format!("have {bytes} bytes together, and {MAX_ALL_HEADERS} are the most"),
        );
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_an_http_url_with_a_host() {
        for (text, key) in [
            ("http://example.com", "http://example.com/"),
            (
                "HTTPS://Example.com:443/a/../b?q=1#f",
                "https://example.com/b",
            ),
            ("http://[::1]:8080/x", "http://[::1]:8080/x"),
            ("http://0x7f.1/", "http://127.0.0.1/"),
            ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        ] {
            assert_eq!(Endpoint::parse(text).unwrap().key(), key, "{text}");
        }
        for bad in [
            "",
            "example.com",
            "ftp://example.com",
            "http:example.com",
            "http:/example.com",
            "http://",
            "https:///path",
            "javascript:alert(1)",
            "file:///etc/passwd",
            "http://user:pw@example.com",
            "http://user@example.com",
            "http://exa mple.com",
            "http://example.com\\@evil.example",
            "http://example.com/\n",
            "http://example.com:99999",
            "http://example.com:0",
            "//example.com",
        ] {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
        assert!(Endpoint::parse(&format!("http://a/{}", "x".repeat(2048))).is_err());
        let hidden = Endpoint::parse("https://a.example/hook?token=s3cret").unwrap();
        assert!(!format!("{hidden:?}").contains("s3cret"));
    }

    #[test]
    fn headers_that_are_not_the_users_are_refused() {
        let read = |text: &str| {
            let raw = RawValue::from_string(text.to_owned()).unwrap();
            let mut faults = Faults::default();
            let headers = headers(&raw, "/headers", &mut faults);
            let faults: Vec<_> = faults.0.into_iter().map(|fault| fault.pointer).collect();
            (headers, faults)
        };
        let (headers, faults) =
            read(r#"{"X-One":"1","content-type":"application/x+json","User-Agent":"me"}"#);
        assert_eq!((headers.len(), faults.len()), (3, 0));
        for name in [
            "Host",
            "Content-Length",
            "webhook-id",
            "Webhook-Signature",
            "webhook-anything",
            "Connection",
            "http2-settings",
            "keep-alive",
            "TE",
            "trailer",
            "Transfer-Encoding",
            "upgrade",
            "proxy-authorization",
            "Expect",
            "X-Tidewire-Depth",
        ] {
            let (headers, faults) = read(&format!(r#"{{"{name}":"x"}}"#));
            assert!(headers.is_empty(), "{name}");
            assert_eq!(faults, [format!("/headers/{name}")]);
        }
        let (_, faults) = read(
            r#"{"a b":"1","":"2","ok":3,"n":"line\nbreak","u":"ü","X":"1","x":"2","s/lash":"x"}"#,
        );
        assert_eq!(
            faults,
            [
                "/headers/a b",
                "/headers/",
                "/headers/ok",
                "/headers/n",
                "/headers/u",
                "/headers/x",
                "/headers/s~1lash"
            ]
        );
        assert_eq!(read("[]").1, ["/headers"]);
        assert_eq!(
            read(&format!(r#"{{"x":"{}"}}"#, "y".repeat(4097))).1,
            ["/headers/x"]
        );
    }
}
