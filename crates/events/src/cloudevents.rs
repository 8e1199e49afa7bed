//! CloudEvents 1.0 over HTTP: structured, batched and binary mode
//! (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md>).
//!
//! `source` and `id` together are the event's identity in the specification and become the
//! `dedupe_key` (`SOURCE ID`: a source is a URI reference and has no space, so the pair reads back).
//! `data` becomes the payload; data that is not JSON is kept as a string, and bytes as
//! `{"data_base64": …}`. The extension attribute `stream` chooses the stream. Other extension
//! attributes, `dataschema` and `datacontenttype` are accepted and not kept.

use std::collections::HashMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderMap;
use serde::Deserialize;
use serde_json::value::RawValue;
use tidewire_core::{FieldError, Kind, Problem, Time, problem::clip};

use crate::{NewEvent, model::DEFAULT_STREAM};

pub(crate) const STRUCTURED: &str = "application/cloudevents+json";
pub(crate) const BATCH: &str = "application/cloudevents-batch+json";

/// The JSON event format. Attributes that the specification does not name are extensions.
#[derive(Deserialize)]
pub(crate) struct CloudEvent {
    specversion: Option<String>,
    id: Option<String>,
    source: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    subject: Option<String>,
    time: Option<Time>,
    stream: Option<String>,
    #[serde(default)]
    data: Option<Box<RawValue>>,
    data_base64: Option<String>,
}

impl CloudEvent {
    pub(crate) fn check(self) -> Result<NewEvent, Problem> {
        let mut errors = Vec::new();
        let mut need = |name: &str, value: Option<String>| {
            let value = value.unwrap_or_default();
            if value.is_empty() {
                errors.push(FieldError {
                    pointer: format!("/{name}"),
                    detail: "is required by CloudEvents and must not be empty".to_owned(),
                });
            }
            value
        };
        let version = need("specversion", self.specversion);
        let id = need("id", self.id);
        let source = need("source", self.source);
        let kind = need("type", self.kind);
        if !version.is_empty() && version != "1.0" {
            errors.push(FieldError {
                pointer: "/specversion".to_owned(),
                detail: format!("is `{}`, and only 1.0 is understood", clip(&version)),
            });
        }
        if source.contains(char::is_whitespace) {
            errors.push(FieldError {
                pointer: "/source".to_owned(),
                detail: "must be a URI reference, which has no white space".to_owned(),
            });
        }
        let payload = match (self.data, self.data_base64) {
            (Some(_), Some(_)) => {
                errors.push(FieldError {
                    pointer: "/data_base64".to_owned(),
                    detail: "is another form of `data`: send one of them".to_owned(),
                });
                None
            }
            (Some(data), None) => Some(data),
            (None, Some(text)) => {
                if STANDARD.decode(&text).is_err() {
                    errors.push(FieldError {
                        pointer: "/data_base64".to_owned(),
                        detail: "is not base64 (RFC 4648, with padding)".to_owned(),
                    });
                }
                Some(raw(&serde_json::json!({ "data_base64": text }))?)
            }
            (None, None) => None,
        };
        Problem::all(errors)?;
        NewEvent {
            kind,
            payload: payload.map_or_else(|| raw(&serde_json::json!({})), Ok)?,
            stream: self.stream.unwrap_or_else(|| DEFAULT_STREAM.to_owned()),
            subject: self.subject,
            dedupe_key: Some(format!("{source} {id}")),
            occurred_at: self.time,
            source: Some(source),
            expected_seq: None,
            depth: 0,
            place: crate::model::Place::Next,
        }
        .checked()
    }
}

/// Binary mode: the attributes are `ce-*` headers and the body is the data.
pub(crate) fn is_binary(headers: &HeaderMap) -> bool {
    headers.contains_key("ce-specversion")
}

pub(crate) fn binary(headers: &HeaderMap, body: &[u8]) -> Result<NewEvent, Problem> {
    let mut attributes = HashMap::new();
    for (name, value) in headers {
        let Some(attribute) = name.as_str().strip_prefix("ce-") else {
            continue;
        };
        let text = value
            .to_str()
            .map_err(|_| Problem::invalid(name.as_str(), "is not ASCII: percent-encode it"))?;
        if attributes
            .insert(attribute, percent_decoded(name.as_str(), text)?)
            .is_some()
        {
            return Err(Problem::invalid(name.as_str(), "was sent more than once"));
        }
    }
    let mut take = |name: &str| attributes.remove(name);
    let time = take("time")
        .map(|text| {
            text.parse::<Time>()
                .map_err(|error| Problem::invalid("ce-time", error))
        })
        .transpose()?;
    let event = CloudEvent {
        specversion: take("specversion"),
        id: take("id"),
        source: take("source"),
        kind: take("type"),
        subject: take("subject"),
        stream: take("stream"),
        time,
        data: data(headers, body)?,
        data_base64: None,
    };
    event.check().map_err(named_by_header)
}

/// In binary mode an attribute's place is its header.
fn named_by_header(mut problem: Problem) -> Problem {
    for error in &mut problem.errors {
        if let Some(attribute) = error.pointer.strip_prefix('/')
            && !attribute.starts_with("payload")
        {
            error.pointer = format!("ce-{attribute}");
        }
    }
    problem
}

fn data(headers: &HeaderMap, body: &[u8]) -> Result<Option<Box<RawValue>>, Problem> {
    if body.is_empty() {
        return Ok(None);
    }
    let media_type = headers
        .get(http::header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = media_type
        .unwrap_or("application/json")
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    let is_json = essence.eq_ignore_ascii_case("application/json")
        || essence.to_ascii_lowercase().ends_with("+json");
    if is_json {
        return tidewire_http::parse::<Box<RawValue>>(body).map(Some);
    }
    match std::str::from_utf8(body) {
        Ok(text) => raw(&serde_json::Value::from(text)).map(Some),
        Err(_) => raw(&serde_json::json!({ "data_base64": STANDARD.encode(body) })).map(Some),
    }
}

/// Header values escape what is not printable ASCII as `%XX` of its UTF-8.
fn percent_decoded(name: &str, text: &str) -> Result<String, Problem> {
    let wrong = || {
        Problem::invalid(
            name,
            "has a `%` that is not followed by two hexadecimal digits of UTF-8",
        )
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
        let (high, low) = (digit().ok_or_else(wrong)?, digit().ok_or_else(wrong)?);
        bytes.push(u8::try_from(high * 16 + low).map_err(|_| wrong())?);
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

fn raw(value: &serde_json::Value) -> Result<Box<RawValue>, Problem> {
    serde_json::value::to_raw_value(value).map_err(|error| {
        Problem::new(
            Kind::Malformed,
            format!("the data cannot be kept as JSON: {error}"),
        )
    })
}
