//! The log's routes.

use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use tidewire_core::{Problem, Scope, Time, name, page};
use tidewire_http::{
    ApiError, Caller, Capped, DEFAULT_BODY_LIMIT, Json, Path, Query, answers, body, media_type,
    parse, sse,
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Appended, Error, Event, Events, Filter, MAX_BATCH, NewEvent,
    cloudevents::{self, CloudEvent},
    depth::depth,
    live,
    model::EventIn,
    service::position,
};

const LIST: &str = "events";

/// The routes of the log.
pub fn routes(events: Events) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(append, list))
        .routes(routes!(tail))
        .routes(routes!(get))
        .with_state(events)
}

/// One event or several.
#[derive(utoipa::ToSchema)]
#[expect(
    dead_code,
    reason = "only its schema is used: the body is parsed by its first character"
)]
#[serde(untagged)]
enum AppendBody {
    One(EventIn),
    Many(Vec<EventIn>),
}

#[derive(Serialize, utoipa::ToSchema)]
#[serde(untagged)]
enum AppendAnswer {
    One(Appended),
    Many(Vec<Appended>),
}

/// Append one event, or an array of at most 1,000 (8 MiB): whole or not at all.
///
/// Answered once the commit is durable. CloudEvents 1.0 are taken too: structured
/// (`application/cloudevents+json`), batched (`application/cloudevents-batch+json`) and binary
/// (`ce-*` headers); `source` and `id` become the `dedupe_key`.
#[utoipa::path(
    post, path = "/v1/events", tag = "events", operation_id = "appendEvents",
    params(("x-tidewire-depth" = Option<u32>, Header, description = "how many triggers deep, as a delivery said it: 0 to 15", minimum = 0, maximum = 15)),
    request_body(content = AppendBody, content_type = "application/json"),
    responses(
        (status = 201, description = "stored; an array for an array", body = AppendAnswer),
        (status = 200, description = "every `dedupe_key` was seen before: the first events' answers", body = AppendAnswer),
        answers::Conflict,
    )
)]
async fn append(
    State(events): State<Events>,
    Caller(principal): Caller,
    request: Request,
) -> Result<Response, ApiError> {
    principal.require(Scope::Write)?;
    let (parts, content) = request.into_parts();
    let form = form(&parts.headers)?;
    let bytes = body(Request::new(content), DEFAULT_BODY_LIMIT).await?;
    let depth = depth(&parts.headers)?;
    let (mut new, many) = read(&form, &parts.headers, &bytes)?;
    for (place, event) in new.iter_mut().enumerate() {
        let pointer = if many {
            format!("/{place}")
        } else {
            String::new()
        };
        events.check_open(&pointer, event)?;
        event.depth = depth;
    }
    let answers = events.append(&principal.tenant, new).await?;
    let status = if answers.iter().all(|answer| answer.duplicated) && !answers.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    let answer = match (many, <[Appended; 1]>::try_from(answers)) {
        (false, Ok([one])) => AppendAnswer::One(one),
        (true, Ok(one)) => AppendAnswer::Many(one.into()),
        (_, Err(all)) => AppendAnswer::Many(all),
    };
    Ok((status, Json(answer)).into_response())
}

enum Form {
    Json,
    Structured,
    Batch,
    Binary,
}

fn form(headers: &HeaderMap) -> Result<Form, Problem> {
    if cloudevents::is_binary(headers) {
        return Ok(Form::Binary);
    }
    const JSON: &str = "application/json";
    Ok(
        match media_type(
            headers,
            &[JSON, cloudevents::STRUCTURED, cloudevents::BATCH],
        )? {
            cloudevents::STRUCTURED => Form::Structured,
            cloudevents::BATCH => Form::Batch,
            _ => Form::Json,
        },
    )
}

/// The checked events, and whether they came as an array.
fn read(form: &Form, headers: &HeaderMap, bytes: &[u8]) -> Result<(Vec<NewEvent>, bool), Problem> {
    let is_array = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    Ok(match form {
        Form::Json if is_array => {
            let Capped(all) = parse::<Capped<EventIn, MAX_BATCH>>(bytes)?;
            (each(all, EventIn::check)?, true)
        }
        Form::Json => (vec![parse::<EventIn>(bytes)?.check()?], false),
        Form::Structured => (vec![parse::<CloudEvent>(bytes)?.check()?], false),
        Form::Batch => {
            let Capped(all) = parse::<Capped<CloudEvent, MAX_BATCH>>(bytes)?;
            (each(all, CloudEvent::check)?, true)
        }
        Form::Binary => (vec![cloudevents::binary(headers, bytes)?], false),
    })
}

fn each<T>(
    all: Vec<T>,
    check: fn(T) -> Result<NewEvent, Problem>,
) -> Result<Vec<NewEvent>, Problem> {
    all.into_iter()
        .enumerate()
        .map(|(place, one)| {
            let event = check(one).map_err(|problem| problem.under(&format!("/{place}")))?;
            if event.expected_seq.is_some() {
                let text = "goes with a single event only, not with an array";
                return Err(Problem::invalid(format!("/{place}/expected_seq"), text));
            }
            Ok(event)
        })
        .collect()
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Only events of this type.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Only events of this stream.
    stream: Option<String>,
    /// Only events about this subject.
    subject: Option<String>,
    /// Only events from this source.
    source: Option<String>,
    /// Only events stored at or after this time (RFC 3339).
    from: Option<Time>,
    /// Only events stored at or before this time (RFC 3339).
    to: Option<Time>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// Events in a page: 1 to 500, 50 if it is missing.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct EventPage {
    events: Vec<Event>,
    /// Send it as `cursor` for the next page; null at the end. A page with one may hold fewer events
    /// than asked for, when a filter looks through archives.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// List events, newest first.
#[utoipa::path(
    get, path = "/v1/events", tag = "events", operation_id = "listEvents",
    params(ListQuery),
    responses((status = 200, description = "a page of events", body = EventPage))
)]
async fn list(
    State(events): State<Events>,
    Caller(principal): Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<EventPage>, ApiError> {
    principal.require(Scope::Read)?;
    let limit = page::limit(query.limit)?;
    let before = query
        .cursor
        .map(|cursor| {
            let key = page::key(LIST, &cursor)?;
            key.parse::<u64>()
                .map_err(|_| Problem::invalid("cursor", "is not a `next_cursor` of this list"))
        })
        .transpose()?;
    name::check_filters([
        ("type", query.kind.as_deref(), name::TYPE_MAX),
        ("stream", query.stream.as_deref(), name::ID_MAX),
    ])?;
    let filter = Filter {
        kind: query.kind,
        stream: query.stream,
        subject: query.subject,
        source: query.source,
        from: query.from,
        to: query.to,
    };
    let page = events
        .list(&principal.tenant, &filter, before, limit)
        .await?;
    let next = page.next.map(|pos| page::cursor(LIST, &pos.to_string()));
    Ok(Json(EventPage {
        events: page.events,
        next_cursor: next,
    }))
}

/// Read one event.
#[utoipa::path(
    get, path = "/v1/events/{id}", tag = "events", operation_id = "getEvent",
    params(("id" = String, Path, description = "the event's id")),
    responses((status = 200, description = "the event", body = Event), answers::NotFound)
)]
async fn get(
    State(events): State<Events>,
    Caller(principal): Caller,
    Path(id): Path<String>,
) -> Result<Json<Event>, ApiError> {
    principal.require(Scope::Read)?;
    Ok(Json(events.get(&principal.tenant, &id).await?))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct TailQuery {
    /// Only events of this type.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Only events of this stream.
    stream: Option<String>,
    /// Start behind this event's id or frame's id; `0` is the start of the log. From now on if it
    /// is missing. `Last-Event-ID` goes before it. What is beyond the log's end is refused.
    after: Option<String>,
}

/// Follow the log: history, then live, as server-sent events.
///
/// Frames have `id:` (a position, for `Last-Event-ID`), `event:` (the type) and `data:` (the
/// event), in the order of the tenant's log, without a gap or a repeat; `: keepalive` every 15 s.
#[utoipa::path(
    get, path = "/v1/events/tail", tag = "events", operation_id = "tailEvents",
    params(TailQuery, ("Last-Event-ID" = Option<String>, Header, description = "where to go on")),
    responses((status = 200, description = "an endless stream of frames", body = sse::ServerSentEvent, content_type = "text/event-stream"))
)]
async fn tail(
    State(events): State<Events>,
    Caller(principal): Caller,
    sse::LastEventId(last): sse::LastEventId,
    Query(query): Query<TailQuery>,
) -> Result<Response, ApiError> {
    principal.require(Scope::Read)?;
    let (name, start) = match &last {
        Some(id) => ("Last-Event-ID", Some(id)),
        None => ("after", query.after.as_ref()),
    };
    let from = match start {
        Some(start) => live::From::After(position(name, start)?),
        None => live::From::Now,
    };
    name::check_filters([
        ("type", query.kind.as_deref(), name::TYPE_MAX),
        ("stream", query.stream.as_deref(), name::ID_MAX),
    ])?;
    let filter = Filter {
        kind: query.kind,
        stream: query.stream,
        ..Filter::default()
    };
    let stream = events.tail(&principal.tenant, filter, from).await;
    let stream = stream.map_err(|error| match error {
        Error::BeyondEnd { .. } => Problem::invalid(name, error.to_string()),
        error => error.into(),
    })?;
    Ok(sse::response(stream, events.shutdown()))
}
