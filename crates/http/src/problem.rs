//! How a problem becomes an answer. A handler's error carries the [`Problem`] in the response's
//! extensions; the body is written by the outermost layer, which alone knows the request id.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use tidewire_core::{FieldError, Kind, Problem};

/// What handlers return as their error.
#[derive(Debug)]
pub struct ApiError(pub Problem);

impl<P: Into<Problem>> From<P> for ApiError {
    fn from(problem: P) -> Self {
        ApiError(problem.into())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status(self.0.kind);
        response.extensions_mut().insert(self.0);
        response
    }
}

fn status(kind: Kind) -> StatusCode {
    StatusCode::from_u16(kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// The body of every error, RFC 9457.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody<'p> {
    /// `urn:tidewire:problem:` and the kind of problem.
    #[serde(rename = "type")]
    #[schema(value_type = String, example = "urn:tidewire:problem:invalid")]
    type_: ProblemType,
    title: &'static str,
    status: u16,
    /// What is wrong with this request, and what to do.
    detail: &'p str,
    /// Also in the header `X-Request-Id` and in every line of the log.
    request_id: &'p str,
    /// Each place in the request that breaks a rule.
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    #[schema(required = false)]
    errors: &'p [FieldError],
}

struct ProblemType(Kind);

impl Serialize for ProblemType {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("urn:tidewire:problem:{}", self.0.slug()))
    }
}

/// Writes the problem into the answer that carries it.
pub(crate) fn render(response: &mut Response, problem: &Problem, request_id: &str) {
    // An internal problem's text is for the log: it may name what a client must not see.
    let detail = match problem.kind {
        Kind::Internal => "the server's log has more under this request id",
        _ => &problem.detail,
    };
    let body = ProblemBody {
        type_: ProblemType(problem.kind),
        title: problem.kind.title(),
        status: problem.kind.status(),
        detail,
        request_id,
        errors: &problem.errors,
    };
    // Strings and numbers only: writing them to memory cannot fail.
    let bytes = serde_json::to_vec(&body).unwrap_or_default();
    *response.status_mut() = status(problem.kind);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    headers.remove(header::CONTENT_LENGTH);
    if let Some(after) = problem.retry_after {
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if problem.kind == Kind::Unauthorized && !headers.contains_key(header::WWW_AUTHENTICATE) {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    *response.body_mut() = Body::from(bytes);
}

/// Answers to name in `#[utoipa::path(responses(…, answers::Conflict))]`. What the shape of a route
/// tells is added to its description without being named: 400, 404 where the path has a parameter,
/// 413 and 415 where there is a body, and unless the route is public 401, 403 and 503.
pub mod answers {
    use std::collections::BTreeMap;

    use tidewire_core::Kind;
    use utoipa::{
        IntoResponses,
        openapi::{
            ContentBuilder, HeaderBuilder, ObjectBuilder, Ref, RefOr, Response, ResponseBuilder,
            Type,
        },
    };

    pub(crate) fn answer(kind: Kind, description: &str) -> Response {
        let content = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name("Problem")))
            .build();
        let mut answer = ResponseBuilder::new()
            .description(description)
            .content("application/problem+json", content);
        if matches!(kind, Kind::TooManyRequests | Kind::Unavailable) {
            let seconds = HeaderBuilder::new()
                .schema(Some(ObjectBuilder::new().schema_type(Type::Integer)))
                .description(Some("seconds to wait"))
                .build();
            answer = answer.header("Retry-After", seconds);
        }
        answer.build()
    }

    macro_rules! answers {
        ($($(#[$doc:meta])* $name:ident = $kind:ident, $description:literal;)*) => {$(
            $(#[$doc])*
            pub struct $name;

            impl IntoResponses for $name {
                fn responses() -> BTreeMap<String, RefOr<Response>> {
                    let status = Kind::$kind.status().to_string();
                    BTreeMap::from([(status, answer(Kind::$kind, $description).into())])
                }
            }
        )*};
    }

    answers! {
        /// 401.
        Unauthorized = Unauthorized, "no key, or not a valid one";
        /// 403.
        Forbidden = Forbidden, "the key lacks the scope";
        /// 404.
        NotFound = NotFound, "unknown, or another tenant's";
        /// 409.
        Conflict = Conflict, "the state does not allow it";
        /// 413.
        TooLarge = TooLarge, "too large";
        /// 415.
        UnsupportedMediaType = UnsupportedMediaType, "the media type is not understood";
        /// 422.
        KeyReused = KeyReused, "the idempotency key came with another body before";
        /// 429.
        TooManyRequests = TooManyRequests, "too many requests";
        /// 502.
        BadGateway = BadGateway, "another server gave no answer that is of use";
        /// 503.
        Unavailable = Unavailable, "the store cannot do this right now";
    }
}
