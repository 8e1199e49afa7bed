//! Reading a request's body: media type, size and time are bounded before anything is parsed.

use std::{task::Poll, time::Duration};

use axum::{body::Body, extract::Request};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tidewire_core::{Kind, Problem, problem::clip};
use tokio::time::timeout;

/// What a body may weigh where a route says nothing.
pub const DEFAULT_BODY_LIMIT: usize = 8 << 20;

/// A client that sends nothing for so long in the middle of a body is gone.
const SILENCE: Duration = Duration::from_secs(30);

/// Another limit for one route: `.layer(axum::Extension(BodyLimit(64 << 10)))`.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimit(pub usize);

/// The whole body, or the problem of one that is too large, cut short or never ends.
pub async fn body(request: Request, limit: usize) -> Result<Bytes, Problem> {
    collect(request.into_body(), limit).await
}

async fn collect(mut body: Body, limit: usize) -> Result<Bytes, Problem> {
    if body.size_hint().lower() > u64::try_from(limit).unwrap_or(u64::MAX) {
        return Err(too_large(limit));
    }
    // Nearly every body comes as one frame, which is then taken as it is.
    let Some(first) = data(&mut body).await? else {
        return Ok(Bytes::new());
    };
    if first.len() > limit {
        return Err(too_large(limit));
    }
    let Some(second) = data(&mut body).await? else {
        return Ok(first);
    };
    let expected = usize::try_from(body.size_hint().lower())
        .unwrap_or(limit)
        .min(limit);
    let mut whole = BytesMut::with_capacity(first.len() + second.len() + expected);
    whole.extend_from_slice(&first);
    let mut next = Some(second);
    while let Some(part) = next {
        if whole.len() + part.len() > limit {
            return Err(too_large(limit));
        }
        whole.extend_from_slice(&part);
        next = data(&mut body).await?;
    }
    Ok(whole.freeze())
}

/// The next piece of data; trailers are passed over.
async fn data(body: &mut Body) -> Result<Option<Bytes>, Problem> {
    while !body.is_end_stream() {
        let mut next = body.frame();
        // Nearly always there already, and then no timer is made.
        let frame = match futures_util::poll!(&mut next) {
            Poll::Ready(frame) => frame,
            Poll::Pending => timeout(SILENCE, next).await.map_err(|_| {
                let text = format!("nothing of the body came for {} s", SILENCE.as_secs());
                Problem::new(Kind::Malformed, text)
            })?,
        };
        match frame {
            None => break,
            Some(Err(_)) => {
                return Err(Problem::new(
                    Kind::Malformed,
                    "the body ended before it was complete",
                ));
            }
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => return Ok(Some(data)),
                Err(_trailers) => {}
            },
        }
    }
    Ok(None)
}

fn too_large(limit: usize) -> Problem {
    Problem::new(
        Kind::TooLarge,
        format!("the body may have {limit} bytes at most: send less at a time"),
    )
}

/// Which of `known` (lower case) the request's `Content-Type` names, parameters aside. A
/// `charset` other than UTF-8 is none of them.
pub fn media_type<'k>(headers: &HeaderMap, known: &[&'k str]) -> Result<&'k str, Problem> {
    let of = |essence: &str| {
        let found = known.iter().find(|name| name.eq_ignore_ascii_case(essence));
        found.copied()
    };
    of_type(headers, known, of)
}

/// Whether the `Content-Type` is JSON's own or one that is written in JSON (`…+json`): for what
/// comes from programs that were not written for this API.
pub fn json_type(headers: &HeaderMap) -> Result<(), Problem> {
    let is_json = |essence: &str| {
        let essence = essence.to_ascii_lowercase();
        essence == "application/json" || essence.ends_with("+json")
    };
    of_type(headers, &["application/json"], |essence| {
        is_json(essence).then_some(())
    })
}

fn of_type<T>(
    headers: &HeaderMap,
    known: &[&str],
    of: impl Fn(&str) -> Option<T>,
) -> Result<T, Problem> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Err(unsupported("no content-type was sent", known));
    };
    let text = value
        .to_str()
        .map_err(|_| unsupported("the content-type is not ASCII", known))?;
    let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
    match of(essence.trim()) {
        Some(found) if charset_is_utf8(parameters) => Ok(found),
        _ => Err(unsupported(
            &format!("the content-type is `{}`", clip(text)),
            known,
        )),
    }
}

fn charset_is_utf8(parameters: &str) -> bool {
    parameters
        .split(';')
        .all(|parameter| match parameter.split_once('=') {
            Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
                let value = value.trim().trim_matches('"');
                value.eq_ignore_ascii_case("utf-8") || value.eq_ignore_ascii_case("utf8")
            }
            _ => true,
        })
}

fn unsupported(what: &str, known: &[&str]) -> Problem {
    Problem::new(
        Kind::UnsupportedMediaType,
        format!("{what}: send `{}` in UTF-8", known.join("` or `")),
    )
}
