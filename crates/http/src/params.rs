//! Query strings and path parameters, read strictly: what a client mistypes is told, not ignored.

use std::{borrow::Cow, collections::HashSet};

use axum::extract::{FromRequestParts, path::ErrorKind, rejection::PathRejection};
use http::request::Parts;
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use tidewire_core::{Kind, Problem, problem::clip};

use crate::ApiError;

/// The query string. Types say `deny_unknown_fields`, so that a misspelt filter is a 400.
#[derive(Clone, Copy, Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Ok(Query(query(parts.uri.query().unwrap_or_default())?))
    }
}

fn query<T: DeserializeOwned>(text: &str) -> Result<T, Problem> {
    check_escapes(text, "query string")?;
    let pairs = || form_urlencoded::parse(text.as_bytes());
    serde_path_to_error::deserialize(serde_urlencoded::Deserializer::new(pairs())).map_err(
        |error| {
            let wrong = error.path().iter().find_map(|segment| match segment {
                Segment::Map { key } => Some(key.clone()),
                _ => None,
            });
            // A repeated parameter is found by the type before its place is known.
            let name = wrong.or_else(|| repeated(pairs())).unwrap_or_default();
            Problem::invalid(name, error.inner().to_string())
        },
    )
}

fn repeated(pairs: form_urlencoded::Parse<'_>) -> Option<String> {
    let mut seen = HashSet::new();
    pairs
        .map(|(name, _)| name)
        .find(|name| !seen.insert(name.clone()))
        .map(Cow::into_owned)
}

/// The parameters in the path.
#[derive(Clone, Copy, Debug)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = check_escapes(parts.uri.path(), "path")?;
        // Names have an alphabet, and not every engine compares one with what cannot be a name.
        if !path.is_ascii() {
            let path = String::from_utf8_lossy(&path);
            return Err(ApiError(Problem::not_found("resource", &path)));
        }
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Path(value)),
            Err(PathRejection::FailedToDeserializePathParams(error))
                if error.status().is_client_error() =>
            {
                let text = match error.kind() {
                    ErrorKind::ParseErrorAtKey {
                        key,
                        value,
                        expected_type,
                    } => unread(Some(key), value, expected_type),
                    ErrorKind::ParseError {
                        value,
                        expected_type,
                    } => unread(None, value, expected_type),
                    _ => error.body_text(),
                };
                Err(ApiError(Problem::new(Kind::Malformed, text)))
            }
            // A handler whose parameters are not its route's.
            Err(error) => Err(ApiError(Problem::new(Kind::Internal, error.body_text()))),
        }
    }
}

/// What is said of a parameter that is no `wanted`.
fn unread(name: Option<&str>, value: &str, wanted: &str) -> String {
    let name = name.map_or_else(String::new, |name| format!(" as its `{name}`"));
    let wanted = match wanted {
        "u8" | "u16" | "u32" | "u64" => "a whole number that is not negative",
        "i8" | "i16" | "i32" | "i64" => "a whole number",
        _ => wanted,
    };
    format!(
        "the path has `{}`{name}, which must be {wanted}",
        clip(value)
    )
}

/// Every `%` starts an escape, the escaped bytes are UTF-8, and none is NUL (which no two engines
/// store alike). The decoders behind this would guess instead of telling.
///
/// The bytes that are meant.
fn check_escapes<'t>(text: &'t str, what: &str) -> Result<Cow<'t, [u8]>, Problem> {
    if memchr::memchr(b'%', text.as_bytes()).is_none() {
        return Ok(Cow::Borrowed(text.as_bytes()));
    }
    let wrong = |why: &str| {
        let text = format!("the {what} `{}` {why}", clip(text));
        Err(Problem::new(Kind::Malformed, text))
    };
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        if *byte != b'%' {
            decoded.push(*byte);
            continue;
        }
        let escape = tail
            .get(..2)
            .and_then(|pair| Some((hex(pair[0])?, hex(pair[1])?)));
        let Some((high, low)) = escape else {
            return wrong(
                "has a `%` that two hexadecimal digits must follow (`%25` is the sign itself)",
            );
        };
        decoded.push(high << 4 | low);
        rest = &tail[2..];
    }
    if decoded.contains(&0) {
        return wrong("contains the character NUL (%00)");
    }
    if std::str::from_utf8(&decoded).is_err() {
        return wrong("is not UTF-8 after its escapes are read");
    }
    Ok(Cow::Owned(decoded))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}
