//! Which headers a request may have.

use http::{HeaderName, HeaderValue};

use crate::{BadHeader, Error, error::bad_header, error::bad_named_header};

/// Those that are the connection's own. Whoever could set them could make the peer, or a proxy before it, read one
/// request as two.
const CONNECTION: [&str; 13] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Headers that a caller keeps for itself when it takes others from somebody's configuration.
#[derive(Clone, Debug, Default)]
pub struct Reserved {
    names: Vec<String>,
    prefixes: Vec<String>,
}

impl Reserved {
    /// Names such as `user-agent`, and prefixes such as `webhook-*`.
    #[must_use]
    pub fn new(patterns: &[&str]) -> Self {
        let mut reserved = Self::default();
        for pattern in patterns {
            let pattern = pattern.to_ascii_lowercase();
            match pattern.strip_suffix('*') {
                Some(prefix) => reserved.prefixes.push(prefix.to_owned()),
                None => reserved.names.push(pattern),
            }
        }
        reserved
    }

    fn holds(&self, name: &HeaderName) -> bool {
        let name = name.as_str();
        self.names.iter().any(|reserved| reserved == name)
            || self
                .prefixes
                .iter()
                .any(|prefix| name.starts_with(prefix.as_str()))
    }
}

/// Judges a header of somebody's configuration, for the moment at which it is stored; the same judgement falls when it
/// is sent.
pub fn check_header(name: &str, value: &str, reserved: &Reserved) -> Result<(), Error> {
    read(name, value, reserved).map(drop)
}

/// The value counts as a secret from here on: it is not shown by debug forms, and not kept in HTTP/2's tables.
pub(crate) fn read(
    name: &str,
    value: &str,
    reserved: &Reserved,
) -> Result<(HeaderName, HeaderValue), Error> {
    let Ok(name) = HeaderName::try_from(name) else {
        return Err(bad_header(name.escape_debug(), BadHeader::Name));
    };
    if CONNECTION.contains(&name.as_str()) {
        return Err(bad_named_header(&name, BadHeader::Connection));
    }
    if reserved.holds(&name) {
        return Err(bad_named_header(&name, BadHeader::Reserved));
    }
    let Ok(mut value) = HeaderValue::try_from(value) else {
        return Err(bad_named_header(&name, BadHeader::Value));
    };
    value.set_sensitive(true);
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(name: &str, value: &str) -> Option<BadHeader> {
        let reserved = Reserved::new(&["User-Agent", "webhook-*"]);
        match check_header(name, value, &reserved) {
            Ok(()) => None,
            Err(Error::BadHeader { why, .. }) => Some(why),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn what_is_the_connections_cannot_be_set() {
        for name in CONNECTION {
            assert_eq!(fault(name, "x"), Some(BadHeader::Connection), "{name}");
            let shouted = name.to_ascii_uppercase();
            assert_eq!(fault(&shouted, "x"), Some(BadHeader::Connection));
        }
    }

    #[test]
    fn what_the_caller_keeps_cannot_be_set() {
        for name in ["user-agent", "USER-AGENT", "webhook-id", "Webhook-Anything"] {
            assert_eq!(fault(name, "x"), Some(BadHeader::Reserved), "{name}");
        }
        for name in ["authorization", "x-webhook-id", "webhook", "content-type"] {
            assert_eq!(fault(name, "x"), None, "{name}");
        }
    }

    #[test]
    fn a_second_header_cannot_be_smuggled_in() {
        for (name, value, why) in [
            ("x-a", "1\r\nhost: evil", BadHeader::Value),
            ("x-a", "1\nx-b: 2", BadHeader::Value),
            ("x-a", "1\0", BadHeader::Value),
            ("x-a: 1\r\nx-b", "2", BadHeader::Name),
            ("x a", "1", BadHeader::Name),
            (":authority", "evil", BadHeader::Name),
            ("", "1", BadHeader::Name),
        ] {
            assert_eq!(fault(name, value), Some(why), "{name:?}: {value:?}");
        }
    }

    #[test]
    fn a_bad_header_is_named_without_its_value() {
        let error = check_header("x-key", "secret\n", &Reserved::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the header `x-key` has a value with characters that HTTP does not allow (line breaks?)"
        );
    }
}
