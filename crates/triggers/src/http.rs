//! The routes of triggers and of what they set off.

mod ahead;
mod by_hand;
mod executions;
mod webhook;

#[cfg(test)]
mod tests;

use axum::{
    extract::{FromRequestParts, Request, State},
    response::{IntoResponse, Response},
};
use http::{StatusCode, request::Parts};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use tidewire_access::{Answer, Request as Keyed, Service as Access};
use tidewire_core::Scope;
use tidewire_http::{
    ApiError, Caller, DEFAULT_BODY_LIMIT, IdempotencyKey, Json, Path, PublicUrl, Query, answers,
    body, media_type, parse,
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Error, NewTrigger, Page, Pagination, Schedule, ScheduleStatus, Trigger, TriggerConfig,
    TriggerEdit, TriggerQuery, TriggerStatus, TriggerType, Triggers,
};

pub use webhook::{SECRET_ROUTES, public_routes};

const JSON: &str = "application/json";

#[derive(Clone)]
struct Api {
    triggers: Triggers,
    access: Access,
    public_url: Option<PublicUrl>,
}

/// The routes of callers that are known. `public_url` is where the API is reached; without it
/// requests are taken by their word.
#[must_use]
pub fn routes(triggers: Triggers, access: Access, public_url: Option<PublicUrl>) -> OpenApiRouter {
    let api = Api {
        triggers: triggers.clone(),
        access,
        public_url,
    };
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(get, update, delete))
        .with_state(api)
        .merge(
            OpenApiRouter::new()
                .routes(routes!(schedules))
                .merge(ahead::routes())
                .merge(by_hand::routes())
                .merge(executions::routes())
                .with_state(triggers),
        )
}

/// `null` is a payload too, so a field that is there is never taken for a missing one.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

/// The base of absolute URLs, as the request was addressed.
struct Addressed(Option<PublicUrl>);

impl<S: Sync> FromRequestParts<S> for Addressed {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Ok(Addressed(PublicUrl::of_request(&parts.uri, &parts.headers)))
    }
}

impl Api {
    /// Where the API is reached: as the operator says, or as this request does.
    fn base(&self, Addressed(addressed): Addressed) -> Option<PublicUrl> {
        self.public_url.clone().or(addressed)
    }
}

/// A trigger as it is shown to who reached the API at `base`.
fn shown(mut trigger: Trigger, base: Option<&PublicUrl>) -> Trigger {
    if trigger.kind == TriggerType::Webhook {
        trigger.webhook_url = base.map(|base| base.join(&format!("/v1/webhook/{}", trigger.id)));
    }
    trigger
}

/// How many triggers have set each other off before this request.
struct Depth(u32);

impl<S: Sync> FromRequestParts<S> for Depth {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Ok(Depth(tidewire_events::depth(&parts.headers)?))
    }
}

/// A trigger to be made.
#[derive(Deserialize, utoipa::ToSchema)]
#[schema(as = NewTrigger, example = json!({
    "name": "nightly report",
    "type": "cron_scheduled",
    "config": {"cron": "0 2 * * *", "timezone": "Europe/Berlin", "endpoint": "https://hooks.example/in"},
}))]
#[serde(deny_unknown_fields)]
struct CreateBody {
    /// What people call it; need not be unique.
    #[schema(min_length = 1, max_length = 255, example = "nightly report")]
    name: String,
    /// It stays what it is.
    #[serde(rename = "type")]
    kind: TriggerType,
    /// When it fires and what it does then, in the form that its `type` has.
    #[schema(value_type = TriggerConfig)]
    config: Box<RawValue>,
    /// `active` if it is missing.
    status: Option<TriggerStatus>,
}

impl From<CreateBody> for NewTrigger {
    fn from(body: CreateBody) -> Self {
        NewTrigger {
            name: body.name,
            kind: body.kind,
            config: body.config,
            status: body.status.unwrap_or(TriggerStatus::Active),
        }
    }
}

/// Make a trigger.
///
/// It is stored together with its first occurrence, if it fires by the clock. The header
/// `Idempotency-Key` says that this is the same request as before, and gives its answer again for
/// 24 hours, marked by the header `Idempotent-Replayed`.
#[utoipa::path(
    post, path = "/v1/triggers", tag = "triggers", operation_id = "createTrigger",
    params(("Idempotency-Key" = Option<String>, Header, description = "1–255 visible ASCII characters")),
    request_body(content = CreateBody, content_type = "application/json"),
    responses(
        (status = 201, description = "the trigger, its secrets masked", body = Trigger),
        answers::Conflict,
        answers::KeyReused,
    )
)]
async fn create(
    State(api): State<Api>,
    Caller(principal): Caller,
    IdempotencyKey(key): IdempotencyKey,
    addressed: Addressed,
    request: Request,
) -> Result<Response, ApiError> {
    principal.require(Scope::Write)?;
    media_type(request.headers(), &[JSON])?;
    let base = api.base(addressed);
    let bytes = body(request, DEFAULT_BODY_LIMIT).await?;
    let new = NewTrigger::from(parse::<CreateBody>(&bytes)?);
    let tenant = principal.tenant;
    let mut checked = api.triggers.check(&tenant, new).await;
    if key.is_none() {
        checked = Ok(checked?);
    }
    let request = Keyed {
        tenant: &tenant,
        route: "triggers.create",
        key: key.as_deref(),
        body: &bytes,
    };
    let (triggers, owner) = (api.triggers, tenant.clone());
    let answered = api
        .access
        .request_keys()
        .run::<Error, _>(request, move |tx| {
            let (triggers, owner, base) = (triggers.clone(), owner.clone(), base.clone());
            // What could be made once and cannot any more (its time has come since) is still the
            // first answer to who asks again.
            let checked = checked.clone();
            Box::pin(async move {
                let trigger = triggers.create_in(tx, &owner, &checked?).await?;
                Ok(Answer::new(201, &shown(trigger, base.as_ref()))?)
            })
        })
        .await?;
    Ok(answered.into_response())
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Only triggers of this type.
    #[serde(rename = "type")]
    kind: Option<TriggerType>,
    /// Only triggers in this state.
    status: Option<TriggerStatus>,
    /// Counts from 1.
    #[param(minimum = 1)]
    page: Option<u64>,
    /// Triggers in a page: 1 to 500, 50 if it is missing.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct TriggerList {
    triggers: Vec<Trigger>,
    pagination: Pagination,
}

/// List triggers, newest first.
#[utoipa::path(
    get, path = "/v1/triggers", tag = "triggers", operation_id = "listTriggers",
    params(ListQuery),
    responses((status = 200, description = "a page of triggers", body = TriggerList))
)]
async fn list(
    State(api): State<Api>,
    Caller(principal): Caller,
    addressed: Addressed,
    Query(query): Query<ListQuery>,
) -> Result<Json<TriggerList>, ApiError> {
    principal.require(Scope::Read)?;
    let page = Page::of(query.page, query.limit)?;
    let filter = TriggerQuery {
        kind: query.kind,
        status: query.status,
    };
    let (triggers, pagination) = api.triggers.list(&principal.tenant, filter, page).await?;
    let base = api.base(addressed);
    let triggers = triggers.into_iter();
    Ok(Json(TriggerList {
        triggers: triggers.map(|one| shown(one, base.as_ref())).collect(),
        pagination,
    }))
}

/// Read one trigger.
#[utoipa::path(
    get, path = "/v1/triggers/{id}", tag = "triggers", operation_id = "getTrigger",
    params(("id" = String, Path, description = "the trigger's id")),
    responses(
        (status = 200, description = "the trigger, its secrets masked", body = Trigger),
        answers::NotFound,
    )
)]
async fn get(
    State(api): State<Api>,
    Caller(principal): Caller,
    addressed: Addressed,
    Path(id): Path<String>,
) -> Result<Json<Trigger>, ApiError> {
    principal.require(Scope::Read)?;
    let trigger = api.triggers.get(&principal.tenant, &id).await?;
    Ok(Json(shown(trigger, api.base(addressed).as_ref())))
}

/// What is to be changed; what is missing stays.
#[derive(Deserialize, utoipa::ToSchema)]
#[schema(as = TriggerEdit)]
#[serde(deny_unknown_fields)]
struct UpdateBody {
    #[schema(min_length = 1, max_length = 255)]
    name: Option<String>,
    status: Option<TriggerStatus>,
    /// Takes the place of the whole config. A secret that is sent as its mask stays what it was.
    #[schema(value_type = Option<TriggerConfig>)]
    config: Option<Box<RawValue>>,
}

impl From<UpdateBody> for TriggerEdit {
    fn from(body: UpdateBody) -> Self {
        TriggerEdit {
            name: body.name,
            status: body.status,
            config: body.config,
        }
    }
}

/// Change a trigger.
///
/// Only firings from now on: what was fired before goes on by the config that it was fired with. A
/// trigger that becomes active again follows its `misfire`. A 409 means that somebody else replaced
/// the config at the same time.
#[utoipa::path(
    put, path = "/v1/triggers/{id}", tag = "triggers", operation_id = "updateTrigger",
    params(("id" = String, Path, description = "the trigger's id")),
    request_body(content = UpdateBody, content_type = "application/json"),
    responses(
        (status = 200, description = "the trigger, its secrets masked", body = Trigger),
        answers::NotFound,
        answers::Conflict,
    )
)]
async fn update(
    State(api): State<Api>,
    Caller(principal): Caller,
    addressed: Addressed,
    Path(id): Path<String>,
    Json(edit): Json<UpdateBody>,
) -> Result<Json<Trigger>, ApiError> {
    principal.require(Scope::Write)?;
    let updated = api.triggers.update(&principal.tenant, &id, edit.into());
    let trigger = updated.await?;
    Ok(Json(shown(trigger, api.base(addressed).as_ref())))
}

/// Delete a trigger.
///
/// Its coming occurrence is cancelled; its executions stay for as long as executions are kept, and
/// what was fired before is still delivered.
#[utoipa::path(
    delete, path = "/v1/triggers/{id}", tag = "triggers", operation_id = "deleteTrigger",
    params(("id" = String, Path, description = "the trigger's id")),
    responses((status = 204, description = "it is gone"), answers::NotFound)
)]
async fn delete(
    State(api): State<Api>,
    Caller(principal): Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    principal.require(Scope::Write)?;
    api.triggers.delete(&principal.tenant, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SchedulesQuery {
    /// Only occurrences in this state.
    status: Option<ScheduleStatus>,
    /// Counts from 1.
    #[param(minimum = 1)]
    page: Option<u64>,
    /// Occurrences in a page: 1 to 500, 50 if it is missing.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct ScheduleList {
    schedules: Vec<Schedule>,
    pagination: Pagination,
}

/// List the occurrences of a trigger, the latest first.
///
/// There is at most one that is pending: the next. Those of the past are kept as long as executions
/// are.
#[utoipa::path(
    get, path = "/v1/triggers/{id}/schedules", tag = "triggers", operation_id = "listSchedules",
    params(("id" = String, Path, description = "the trigger's id"), SchedulesQuery),
    responses(
        (status = 200, description = "a page of occurrences", body = ScheduleList),
        answers::NotFound,
    )
)]
async fn schedules(
    State(triggers): State<Triggers>,
    Caller(principal): Caller,
    Path(id): Path<String>,
    Query(query): Query<SchedulesQuery>,
) -> Result<Json<ScheduleList>, ApiError> {
    principal.require(Scope::Read)?;
    let page = Page::of(query.page, query.limit)?;
    let (schedules, pagination) = triggers
        .schedules(&principal.tenant, &id, query.status, page)
        .await?;
    Ok(Json(ScheduleList {
        schedules,
        pagination,
    }))
}
