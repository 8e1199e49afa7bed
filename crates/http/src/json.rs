//! JSON in, JSON out. Parsing goes straight from the bytes; only what fails is parsed a second
//! time, slowly, to find the place that the problem names.

use std::{fmt, marker::PhantomData};

use axum::{
    body::{Body, HttpBody as _},
    extract::{FromRequest, Request},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderValue, header};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, IgnoredAny, SeqAccess, Visitor},
};
use serde_path_to_error::{Path, Segment};
use tidewire_core::{Kind, Problem, json};

use crate::{ApiError, BodyLimit, DEFAULT_BODY_LIMIT, body, media_type, strict::Strict};

/// A body of `application/json`, and an answer of it. Request types say `deny_unknown_fields`.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        media_type(request.headers(), &["application/json"])?;
        let limit = match request.extensions().get::<BodyLimit>() {
            Some(BodyLimit(limit)) => *limit,
            None => DEFAULT_BODY_LIMIT,
        };
        let bytes = body(request, limit).await?;
        Ok(Json(parse(&bytes)?))
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(bytes) => {
                let mut response = Response::new(Body::from(Bytes::from(bytes)));
                response.headers_mut().insert(
                    header::CONTENT_TYPE,
                    HeaderValue::from_static("application/json"),
                );
                response
            }
            Err(error) => {
                let text = format!("the answer cannot be written as JSON: {error}");
                ApiError(Problem::new(Kind::Internal, text)).into_response()
            }
        }
    }
}

/// A body that may be left out, its `Content-Type` with it, or be `null`.
#[derive(Clone, Copy, Debug)]
pub struct Optional<T>(pub Option<T>);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Optional<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        if request.body().is_end_stream() && !request.headers().contains_key(header::CONTENT_TYPE) {
            return Ok(Optional(None));
        }
        let Json(body) = Json::from_request(request, state).await?;
        Ok(Optional(body))
    }
}

/// Parses one JSON document. Syntax errors name line and column; everything else names a pointer.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = T::deserialize(Strict(&mut reader)).and_then(|value| reader.end().map(|()| value));
    match value {
        Ok(value) => no_nul(bytes).map(|()| value),
        Err(error) => Err(explain::<T>(bytes, &error)),
    }
}

/// No two engines store a NUL character alike. It can only stand in a string as `\u0000` (the bare
/// byte is a syntax error), so a document without these six bytes has none.
fn no_nul(bytes: &[u8]) -> Result<(), Problem> {
    if memchr::memmem::find(bytes, b"\\u0000").is_none() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(bytes);
    json::check(&text).map_err(|fault| Problem::invalid(fault.pointer, fault.detail))
}

fn explain<T: DeserializeOwned>(bytes: &[u8], error: &serde_json::Error) -> Problem {
    // A wrong field in what is no JSON at all: the bytes come first.
    let syntax = serde_json::from_slice::<IgnoredAny>(bytes).err();
    if let Some(syntax) = syntax.as_ref().or((!error.is_data()).then_some(error)) {
        return malformed(bytes, syntax);
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    match serde_path_to_error::deserialize::<_, T>(Strict(&mut reader)) {
        Err(located) if located.inner().is_data() => {
            let pointer = pointer(located.path());
            Problem::invalid(pointer, without_place(located.inner()))
        }
        _ => Problem::invalid("", without_place(error)),
    }
}

fn malformed(bytes: &[u8], error: &serde_json::Error) -> Problem {
    let text = if bytes.iter().all(u8::is_ascii_whitespace) {
        "the body is empty, and JSON is expected".to_owned()
    } else {
        format!("the body is not JSON: {error}")
    };
    Problem::new(Kind::Malformed, text)
}

/// The error's text without serde's ` at line L column C`, which the pointer replaces.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&place).unwrap_or(&text).to_owned()
}

fn pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } | Segment::Enum { variant: key } => {
                pointer.push('/');
                pointer.push_str(&json::escape(key));
            }
            Segment::Unknown => {}
        }
    }
    pointer
}

/// A list that stops reading at its limit, so that a body of a million elements costs no more
/// than one of `N`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capped<T, const N: usize>(pub Vec<T>);

impl<'de, T: Deserialize<'de>, const N: usize> Deserialize<'de> for Capped<T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements<T, const N: usize>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for Elements<T, N> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "an array of at most {N} elements")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = seq.next_element()? {
                    if elements.len() == N {
                        let text = format!("has more than {N} elements: send fewer at a time");
                        return Err(serde::de::Error::custom(text));
                    }
                    elements.push(element);
                }
                Ok(elements)
            }
        }

        deserializer
            .deserialize_seq(Elements::<T, N>(PhantomData))
            .map(Capped)
    }
}
