//! What a worker's config means: the request that a hit is.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;
use serde_json::value::RawValue;
use tidewire_core::{FieldError, Problem, json};
use tidewire_outbound::{AddressPolicy, Method, Request, Reserved};

const MOST_TIMEOUT: u64 = 60;
const MOST_HEADERS: usize = 64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Target {
    url: String,
    method: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    timeout_seconds: Option<u64>,
}

/// Reads a config. What makes it useless is named by its place.
pub(super) fn read(config: &RawValue, policy: &AddressPolicy) -> Result<Request, Problem> {
    let target: Target = tidewire_http::parse(config.get().as_bytes()).map_err(|mut problem| {
        if problem.errors.is_empty() {
            let (pointer, detail) = (String::new(), problem.detail.clone());
            problem.errors.push(FieldError { pointer, detail });
        }
        problem.under("/config")
    })?;
    let at = |place: &str, why: &dyn std::fmt::Display| {
        Problem::invalid(format!("/config/{place}"), why.to_string())
    };
    let method = match &target.method {
        None => Method::GET,
        Some(name) => Method::from_bytes(name.to_ascii_uppercase().as_bytes())
            .map_err(|_| at("method", &"is no method of HTTP"))?,
    };
    let mut request = Request::new(method, &target.url).map_err(|error| match error {
        tidewire_outbound::Error::BadMethod(_) => at("method", &error),
        other => at("url", &other),
    })?;
    policy
        .check_target(request.target())
        .map_err(|error| at("url", &error))?;
    if target.headers.len() > MOST_HEADERS {
        let why = format!("has more than {MOST_HEADERS} headers");
        return Err(at("headers", &why));
    }
    for (name, value) in &target.headers {
        let place = format!("headers/{}", json::escape(name));
        request = request
            .configured_header(name, value, &Reserved::default())
            .map_err(|error| at(&place, &error))?;
    }
    match target.timeout_seconds {
        None => Ok(request),
        Some(seconds @ 1..=MOST_TIMEOUT) => Ok(request.timeout(Duration::from_secs(seconds))),
        Some(seconds) => {
            let why = format!("must be 1 to {MOST_TIMEOUT}, it is {seconds}");
            Err(at("timeout_seconds", &why))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_used_is_named_by_its_place() {
        let read = |text: &str| {
            let raw = RawValue::from_string(text.to_owned()).unwrap();
            read(&raw, &AddressPolicy::public())
        };
        read(r#"{"url": "https://example.com/x", "method": "post", "headers": {"a": "b"}, "timeout_seconds": 5}"#)
            .unwrap();
        for (bad, place) in [
            ("{}", "/config"),
            (r#"{"url": "example.com"}"#, "/config/url"),
            (r#"{"url": "http://10.0.0.1/"}"#, "/config/url"),
            (
                r#"{"url": "https://a/", "method": "CONNECT"}"#,
                "/config/method",
            ),
            (
                r#"{"url": "https://a/", "method": "G T"}"#,
                "/config/method",
            ),
            (
                r#"{"url": "https://a/", "headers": {"host": "b"}}"#,
                "/config/headers/host",
            ),
            (
                r#"{"url": "https://a/", "timeout_seconds": 0}"#,
                "/config/timeout_seconds",
            ),
            (
                r#"{"url": "https://a/", "timeout_secs": 5}"#,
                "/config/timeout_secs",
            ),
            (r#"{"url": 7}"#, "/config/url"),
        ] {
            let problem = read(bad).unwrap_err();
            assert_eq!(
                (problem.kind.status(), problem.errors[0].pointer.as_str()),
                (400, place),
                "{bad}"
            );
        }
    }
}
