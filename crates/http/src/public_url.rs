//! Where the API is reached from outside, which absolute URLs in answers begin with: what the
//! operator says, or else what the request itself was sent to.
//!
//! Headers of proxies (`X-Forwarded-…`) are not gone by: anybody can send them. Behind a proxy the
//! operator says the URL.

use std::{fmt, str::FromStr, sync::Arc};

use http::{HeaderMap, Uri, header, uri::Authority};
use tidewire_core::problem::clip;

/// `http://host[:port]` or `https://…`, with a path or without, and without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl(Arc<str>);

impl PublicUrl {
    /// The URL of a path of the API.
    #[must_use]
    pub fn join(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }

    /// As the request was addressed; `None` if it does not say where it was sent to.
    #[must_use]
    pub fn of_request(uri: &Uri, headers: &HeaderMap) -> Option<Self> {
        let named = match uri.authority() {
            Some(authority) => authority.clone(),
            None => {
                let host = headers.get(header::HOST)?.to_str().ok()?;
                host.parse::<Authority>().ok()?
            }
        };
        // What is sent here is sent in the clear, also by a proxy.
        plain(&named).then(|| PublicUrl(format!("http://{named}").into()))
    }
}

/// Whether it is a host and perhaps a port, and nothing else.
fn plain(authority: &Authority) -> bool {
    !authority.host().is_empty() && !authority.as_str().contains('@')
}

impl FromStr for PublicUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| {
            format!(
                "`{}` {why}: write it as https://host, https://host:port or https://host/path",
                clip(text)
            )
        };
        let uri: Uri = text.parse().map_err(|_| wrong("is not a URL"))?;
        let scheme = uri.scheme_str().unwrap_or_default();
        if !matches!(scheme, "http" | "https") {
            return Err(wrong("does not begin with http:// or https://"));
        }
        if !uri.authority().is_some_and(plain) {
            return Err(wrong("does not name a host alone"));
        }
        if uri.query().is_some() || text.contains('#') {
            return Err(wrong("has a query or a fragment"));
        }
        Ok(PublicUrl(text.trim_end_matches('/').into()))
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn an_operators_url_is_the_beginning_of_others() {
        for (text, joined) in [
            ("https://tide.example", "https://tide.example/v1/x"),
            ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/v1/x"),
            ("https://host/tide/", "https://host/tide/v1/x"),
            ("http://[::1]:1", "http://[::1]:1/v1/x"),
        ] {
            assert_eq!(text.parse::<PublicUrl>().unwrap().join("/v1/x"), joined);
        }
        for text in [
            "",
            "tide.example",
            "/v1",
            "ftp://host",
            "https://",
            "https://ann:secret@host",
            "https://host/?a=b",
            "https://host/#top",
        ] {
            let error = text.parse::<PublicUrl>().unwrap_err();
            assert!(error.contains("https://host"), "{error}");
        }
    }

    #[test]
    fn a_request_says_where_it_was_sent() {
        let of = |uri: &'static str, host: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            if let Some(host) = host {
                headers.insert(header::HOST, HeaderValue::from_static(host));
            }
            headers.insert("x-forwarded-host", HeaderValue::from_static("evil.example"));
            PublicUrl::of_request(&Uri::from_static(uri), &headers).map(|url| url.to_string())
        };
        assert_eq!(
            of("/v1/x", Some("localhost:8080")).as_deref(),
            Some("http://localhost:8080")
        );
        assert_eq!(
            of("http://host:1/v1/x", None).as_deref(),
            Some("http://host:1")
        );
        for host in [None, Some(""), Some("a b"), Some("ann@host"), Some("h/x")] {
            assert_eq!(of("/v1/x", host), None, "{host:?}");
        }
    }
}
