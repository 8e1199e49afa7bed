//! Requests made from the API's own description: half right, so that they get far, and half wrong.

use std::collections::BTreeSet;

use proptest::{collection::vec, option, prelude::*, sample::select, strategy::Union};
use reqwest::{
    Method,
    header::{HeaderName, HeaderValue},
};
use serde_json::{Map, Value, json};

/// One method of one path.
#[derive(Clone, Debug)]
pub struct Operation {
    pub method: Method,
    pub path: String,
    /// The statuses that it says it can answer.
    pub answers: BTreeSet<u16>,
    pub takes_a_body: bool,
    queries: Vec<String>,
    /// Parts of the path that have to be numbers, as they stand there.
    numbers: BTreeSet<String>,
    schema: Value,
}

impl Operation {
    /// The path with this in place of each parameter, or a number where only one can be.
    pub fn path_with(&self, id: &str) -> String {
        fill(&self.path, |part| match self.numbers.contains(part) {
            true => "1".to_owned(),
            false => id.to_owned(),
        })
    }

    fn parameters(&self) -> usize {
        self.path.matches('{').count()
    }
}

fn fill(path: &str, mut next: impl FnMut(&str) -> String) -> String {
    let filled = path.split('/').map(|part| {
        if part.starts_with('{') {
            next(part)
        } else {
            part.to_owned()
        }
    });
    filled.collect::<Vec<_>>().join("/")
}

/// Every operation of the description.
pub fn operations(document: &Value) -> Vec<Operation> {
    let paths = document["paths"].as_object().expect("paths");
    let mut operations = Vec::new();
    for (path, item) in paths {
        for (method, operation) in item.as_object().expect("methods") {
            let Ok(method) = method.to_uppercase().parse::<Method>() else {
                continue;
            };
            if !operation.is_object() {
                continue;
            }
            let answers = operation["responses"].as_object().expect("answers");
            let parameters = operation["parameters"].as_array();
            operations.push(Operation {
                method,
                path: path.clone(),
                answers: answers
                    .keys()
                    .filter_map(|status| status.parse().ok())
                    .collect(),
                takes_a_body: operation["requestBody"].is_object(),
                queries: parameters
                    .into_iter()
                    .flatten()
                    .filter(|parameter| parameter["in"] == "query")
                    .filter_map(|parameter| parameter["name"].as_str().map(str::to_owned))
                    .collect(),
                numbers: parameters
                    .into_iter()
                    .flatten()
                    .filter(|parameter| parameter["in"] == "path")
                    .filter(|parameter| parameter["schema"]["type"] == "integer")
                    .filter_map(|parameter| parameter["name"].as_str())
                    .map(|name| format!("{{{name}}}"))
                    .collect(),
                schema: operation["requestBody"]["content"]["application/json"]["schema"].clone(),
            });
        }
    }
    operations
}

/// What is thrown at an operation.
#[derive(Clone, Debug)]
pub struct Hostile {
    pub target: String,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body: Option<Vec<u8>>,
}

pub fn hostile(
    operation: &Operation,
    document: &Value,
    known: &[String],
) -> impl Strategy<Value = Hostile> + use<> {
    let path = operation.path.clone();
    let parameters = vec(path_part(known), operation.parameters());
    let body = if operation.takes_a_body {
        body(&operation.schema, document)
    } else {
        option::weighted(0.1, vec(any::<u8>(), 0..64)).boxed()
    };
    (parameters, query(&operation.queries), headers(), body).prop_map(
        move |(parameters, query, headers, body)| {
            let mut parameters = parameters.into_iter();
            let path = fill(&path, |_| parameters.next().unwrap_or_default());
            let target = if query.is_empty() {
                path
            } else {
                format!("{path}?{query}")
            };
            Hostile {
                target,
                headers,
                body,
            }
        },
    )
}

/// Ids that exist, and what is none.
fn path_part(known: &[String]) -> impl Strategy<Value = String> + use<> {
    prop_oneof![
        3 => select(known.to_vec()),
        // A part of dots alone never leaves the client: it would name another path.
        2 => vec(any::<u8>(), 1..40)
            .prop_filter("dots", |bytes| bytes.iter().any(|byte| *byte != b'.'))
            .prop_map(|bytes| escaped(&bytes)),
        1 => "[A-Za-z0-9_-]{1,30}".prop_filter("another route", |text| text != "tail"),
        1 => select(vec!["%00", "%ff", "%2F", "..%2f..", "0", "-1", "null", "%F0%9F%98%80", "'%20OR%201=1--"])
            .prop_map(str::to_owned),
    ]
}

fn escaped(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("%{byte:02X}")).collect()
}

fn query(names: &[String]) -> impl Strategy<Value = String> + use<> {
    let name = match names {
        [] => "[a-z_]{1,8}".boxed(),
        names => prop_oneof![8 => select(names.to_vec()), 1 => "[a-z_]{1,8}"].boxed(),
    };
    let value = prop_oneof![
        3 => "[A-Za-z0-9._:-]{0,20}",
        2 => vec(any::<u8>(), 0..20).prop_map(|bytes| escaped(&bytes)),
        1 => select(vec![
            "0", "1", "-1", "500", "99999999999999999999", "1e3", "%", "%zz", "%00", "null", "true",
            "2026-01-31", "2026-01-31T12:00:00Z", "2026-02-30", "9999-12-31T23:59:59Z",
            "-262143-01-01", "pending", "running", "", "&", "a=b", "[]", "%5B%5D",
        ]).prop_map(str::to_owned),
    ];
    let pairs = vec(
        (name, value).prop_map(|(name, value)| format!("{name}={value}")),
        0..4,
    );
    prop_oneof![
        6 => pairs.prop_map(|pairs| pairs.join("&")),
        1 => "[A-Za-z0-9%&=;+._~!$'()*,:@/?-]{0,40}",
    ]
}

fn headers() -> impl Strategy<Value = Vec<(HeaderName, HeaderValue)>> {
    let name = select(vec![
        "x-request-id",
        "idempotency-key",
        "last-event-id",
        "accept",
        "accept-encoding",
        "content-encoding",
        "origin",
        "host",
        "ce-id",
        "ce-type",
        "ce-specversion",
        "ce-source",
        "ce-time",
        "x-forwarded-for",
        "x-http-method-override",
        "range",
        "if-none-match",
        "cookie",
        "traceparent",
    ]);
    let value = prop_oneof![
        "[ -~]{0,60}".prop_map(String::into_bytes),
        vec(prop_oneof![0x20u8..0x7f, 0x80u8..=0xff], 0..40),
        select(vec![
            "*",
            "0",
            "null",
            "1.0",
            "gzip",
            "a".repeat(4000).leak(),
            "%00",
            "\"etag\""
        ])
        .prop_map(|text: &str| text.as_bytes().to_vec()),
    ];
    let header = (name, value).prop_filter_map("no header's value", |(name, value)| {
        let value = HeaderValue::from_bytes(&value).ok()?;
        Some((HeaderName::from_static(name), value))
    });
    let content_type = prop_oneof![
        12 => Just("application/json"),
        1 => Just("application/json; charset=utf-8"),
        1 => Just("application/cloudevents+json"),
        1 => Just("application/cloudevents-batch+json"),
        1 => Just("text/plain"),
        1 => Just("multipart/form-data; boundary=x"),
    ];
    (vec(header, 0..3), content_type).prop_map(|(mut headers, content_type)| {
        let value = HeaderValue::from_static(content_type);
        headers.push((reqwest::header::CONTENT_TYPE, value));
        headers
    })
}

fn body(schema: &Value, document: &Value) -> BoxedStrategy<Option<Vec<u8>>> {
    let near = near(schema, document, 0);
    prop_oneof![
        10 => near.prop_map(|value| Some(value.to_string().into_bytes())),
        3 => any_json().prop_map(|value| Some(value.to_string().into_bytes())),
        2 => near_and_broken(schema, document),
        1 => vec(any::<u8>(), 0..200).prop_map(Some),
        1 => Just(None),
    ]
    .boxed()
}

/// Right, but for one byte.
fn near_and_broken(schema: &Value, document: &Value) -> BoxedStrategy<Option<Vec<u8>>> {
    (
        near(schema, document, 0),
        any::<prop::sample::Index>(),
        any::<u8>(),
    )
        .prop_map(|(value, at, byte)| {
            let mut bytes = value.to_string().into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            Some(bytes)
        })
        .boxed()
}

fn any_json() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        ".{0,20}".prop_map(Value::from),
        Just(json!("\0")),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            vec((".{0,8}", inner), 0..6).prop_map(|fields| Value::Object(Map::from_iter(fields))),
        ]
    })
    .boxed()
}

/// Values that follow the schema for the most part.
fn near(schema: &Value, document: &Value, depth: usize) -> BoxedStrategy<Value> {
    if depth > 6 {
        return any_json();
    }
    if let Some(name) = schema["$ref"].as_str() {
        let pointer = name.trim_start_matches('#');
        let target = document.pointer(pointer).cloned().unwrap_or_default();
        return near(&target, document, depth + 1);
    }
    for choice in ["oneOf", "anyOf"] {
        if let Some(arms) = schema[choice].as_array() {
            return Union::new(arms.iter().map(|arm| near(arm, document, depth + 1))).boxed();
        }
    }
    if let Some(values) = schema["enum"].as_array() {
        return prop_oneof![9 => select(values.clone()), 1 => any_json()].boxed();
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => return any_json(),
    };
    let arms: Vec<_> = kinds
        .into_iter()
        .map(|kind| match kind {
            "object" => object(schema, document, depth),
            "array" => vec(near(&schema["items"], document, depth + 1), 0..4)
                .prop_map(Value::from)
                .boxed(),
            "string" => text(schema),
            "integer" | "number" => number(),
            "boolean" => any::<bool>().prop_map(Value::from).boxed(),
            _ => Just(Value::Null).boxed(),
        })
        .collect();
    Union::new(arms).boxed()
}

fn object(schema: &Value, document: &Value, depth: usize) -> BoxedStrategy<Value> {
    let required: BTreeSet<_> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let properties = schema["properties"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    let fields: Vec<BoxedStrategy<Option<(String, Value)>>> = properties
        .iter()
        .map(|(name, schema)| {
            let there = if required.contains(name.as_str()) {
                0.97
            } else {
                0.4
            };
            let value = if name == "wait_seconds" {
                // A claim that is right may be held open for so long.
                select(vec![
                    json!(0),
                    json!(-1),
                    json!(61),
                    json!("0"),
                    json!(null),
                ])
                .boxed()
            } else {
                prop_oneof![14 => near(schema, document, depth + 1), 1 => any_json()].boxed()
            };
            let name = name.clone();
            option::weighted(there, value)
                .prop_map(move |value| Some((name.clone(), value?)))
                .boxed()
        })
        .collect();
    let unknown = option::weighted(0.05, ("[a-z_]{0,8}", any_json()));
    (fields, unknown)
        .prop_map(|(fields, unknown)| {
            Value::Object(fields.into_iter().flatten().chain(unknown).collect())
        })
        .boxed()
}

fn text(schema: &Value) -> BoxedStrategy<Value> {
    let right = match (&schema["format"], &schema["pattern"]) {
        (Value::String(format), _) if format == "date-time" => select(vec![
            "2026-01-31T12:00:00Z",
            "2026-01-31T12:00:00.123456+05:30",
            "2100-01-01T00:00:00Z",
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:60Z",
        ])
        .prop_map(str::to_owned)
        .boxed(),
        _ => "[A-Za-z0-9._:-]{1,20}".boxed(),
    };
    prop_oneof![
        10 => right,
        1 => ".{0,40}",
        1 => select(vec![String::new(), "\0".to_owned(), "a".repeat(600), "ü".repeat(128), "\u{202e}".to_owned()]),
    ]
    .prop_map(Value::from)
    .boxed()
}

fn number() -> BoxedStrategy<Value> {
    prop_oneof![
        6 => (1i64..100).prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(|number| json!(number)),
        1 => select(vec![json!(0), json!(-1), json!(u64::MAX), json!(i64::MIN), json!(1e300)]),
    ]
    .boxed()
}
