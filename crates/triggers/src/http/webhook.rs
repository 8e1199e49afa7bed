//! Where webhooks are called. No key is needed: the URL is the secret, unless the trigger wants both.

use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::Serialize;
use serde_json::value::RawValue;
use tidewire_access::{Answer, Request as Keyed, Service as Access};
use tidewire_http::{ApiError, IdempotencyKey, Json, Path, answers, body, json_type, parse};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Depth;
use crate::{Error, MAX_PAYLOAD, SetOff, Triggers, service::empty};

/// The routes that strangers may call.
#[must_use]
pub fn public_routes(triggers: Triggers, access: Access) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(webhook))
        .with_state((triggers, access))
}

/// What a call set off.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = WebhookCall)]
struct Accepted {
    /// The execution's id, as the message on the job bus has it.
    event_id: String,
    execution_id: String,
    job_id: String,
}

impl From<SetOff> for Accepted {
    fn from(set_off: SetOff) -> Self {
        Accepted {
            event_id: set_off.execution_id.clone(),
            execution_id: set_off.execution_id,
            job_id: set_off.job_id,
        }
    }
}

/// Routes whose paths are secrets: who knows a webhook's URL may call it.
pub const SECRET_ROUTES: &[&str] = &["/v1/webhook/{trigger_id}"];

/// Call a webhook.
///
/// The body is any JSON of at most 256 KiB (also of a type such as `application/cloudevents+json`);
/// an empty one counts as `{}`. It must keep to the trigger's `schema`: `errors` has an entry for
/// each violation, and nothing is stored. Answered once the commit is durable. No key is needed
/// unless the trigger's config has `require_key`; then one of its tenant that may write. The header
/// `Idempotency-Key` says that this is the same call as before, and gives its answer again for 24
/// hours, marked by the header `Idempotent-Replayed`.
#[utoipa::path(
    post, path = "/v1/webhook/{trigger_id}", tag = "triggers", operation_id = "callWebhook",
    params(
        ("trigger_id" = String, Path, description = "the trigger's id"),
        ("Idempotency-Key" = Option<String>, Header, description = "1–255 visible ASCII characters"),
        ("x-tidewire-depth" = Option<u32>, Header, minimum = 0, maximum = 15, description = "as the delivery had it that led here"),
    ),
    request_body(content = Option<serde_json::Value>, content_type = "application/json"),
    responses(
        (status = 202, description = "what was set off", body = Accepted),
        answers::Unauthorized,
        answers::Forbidden,
        answers::NotFound,
        answers::Conflict,
        answers::KeyReused,
        answers::Unavailable,
    ),
    security((), ("bearer" = []), ("X-API-Key" = [])),
)]
async fn webhook(
    State((triggers, access)): State<(Triggers, Access)>,
    Path(id): Path<String>,
    IdempotencyKey(key): IdempotencyKey,
    Depth(depth): Depth,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, content) = request.into_parts();
    let bytes = body(Request::new(content), MAX_PAYLOAD).await?;
    // A caller that has nothing to say often sends nothing, with whatever type.
    let payload = if bytes.is_empty() {
        empty()
    } else {
        json_type(&parts.headers)?;
        parse::<Box<RawValue>>(&bytes)?
    };
    // Callers send headers of their own, which are no keys of ours: they matter only where a key is
    // asked for, and then it is told what is wrong with them.
    let caller = access.caller(&parts.headers).await;
    let shown = caller.as_ref().ok();
    let refused = |error: Error| match (error, &caller) {
        (Error::KeyRequired(_), Err(wrong)) if !matches!(wrong, tidewire_access::Error::NoKey) => {
            ApiError::from(wrong.clone())
        }
        (error, _) => error.into(),
    };
    let Some(key) = key else {
        let called = triggers.webhook(&id, payload, shown, depth).await;
        let accepted = Accepted::from(called.map_err(refused)?);
        return Ok((StatusCode::ACCEPTED, Json(accepted)).into_response());
    };
    let checked = triggers.check_call(&id, payload, shown, depth).await;
    let call = checked.map_err(refused)?;
    let tenant = call.tenant().clone();
    // The same key may come to another trigger of the tenant.
    let key = format!("{id} {key}");
    let request = Keyed {
        tenant: &tenant,
        route: "triggers.webhook",
        key: Some(&key),
        body: &bytes,
    };
    let answered = access
        .request_keys()
        .run::<Error, _>(request, move |tx| {
            let (triggers, call) = (triggers.clone(), call.clone());
            Box::pin(async move {
                let set_off = triggers.call_in(tx, &call).await?;
                Ok(Answer::new(202, &Accepted::from(set_off))?)
            })
        })
        .await?;
    Ok(answered.into_response())
}
