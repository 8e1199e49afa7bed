//! The API's description, made of what the handlers say about themselves, and its rendering at
//! `/docs` from files inside the binary.

use std::sync::Arc;

use axum::{
    Router,
    extract::Path,
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use bytes::Bytes;
use http::header;
use serde_json::json;
use tidewire_core::{Kind, Problem};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Components, InfoBuilder, LicenseBuilder, OpenApi, PathItem, RefOr, Schema, Type,
        extensions::ExtensionsBuilder,
        path::Operation,
        schema::SchemaType,
        security::{
            ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
        },
    },
};

use crate::{
    ApiError, ProblemBody,
    problem::answers,
    rewrite::{self, REWRITES},
};

const BEARER: &str = "bearer";
const API_KEY: &str = "X-API-Key";

/// Joins the two halves of the API: `secured` operations need a key (unless the server is `open`),
/// `public` ones do not.
pub(crate) fn assemble(mut secured: OpenApi, public: OpenApi, open: bool) -> OpenApi {
    let mut keys = vec![
        SecurityRequirement::new(BEARER, NONE),
        SecurityRequirement::new(API_KEY, NONE),
    ];
    if open {
        keys.push(SecurityRequirement::default());
    }
    for (_, operation) in operations(&mut secured) {
        operation.security.get_or_insert_with(|| keys.clone());
        declare(operation, Kind::Unauthorized, "no key, or not a valid one");
        declare(operation, Kind::Forbidden, "the key lacks the scope");
        declare(
            operation,
            Kind::Unavailable,
            "the store cannot do this right now",
        );
    }
    let mut api = secured;
    api.merge(public);
    for (path, operation) in operations(&mut api) {
        for parameter in operation.parameters.iter_mut().flatten() {
            if let RefOr::T(parameter) = parameter {
                parameter.schema = parameter.schema.take().map(never_null);
            }
        }
        if open {
            declare(
                operation,
                Kind::Forbidden,
                "named by a foreign host, or called by a foreign web page",
            );
        }
        let in_path = path.contains('{');
        if in_path || operation.parameters.is_some() || operation.request_body.is_some() {
            declare(
                operation,
                Kind::Invalid,
                "malformed, or against a rule: `errors` names each place",
            );
        }
        if in_path {
            declare(operation, Kind::NotFound, "unknown, or another tenant's");
        }
        if operation.request_body.is_some() {
            declare(operation, Kind::TooLarge, "the body is too large");
            declare(
                operation,
                Kind::UnsupportedMediaType,
                "the content type is not one of these",
            );
        }
    }

    let components = api.components.get_or_insert_with(Components::new);
    let mut schemas = vec![(ProblemBody::name().into_owned(), ProblemBody::schema())];
    ProblemBody::schemas(&mut schemas);
    components.schemas.extend(schemas);
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    components.add_security_scheme(BEARER, SecurityScheme::Http(bearer));
    components.add_security_scheme(
        API_KEY,
        SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new(API_KEY))),
    );

    let rewrites: Vec<_> = REWRITES
        .iter()
        .map(|row| json!({"from": row.from, "to": row.to, "below": row.below}))
        .collect();
    let licence = LicenseBuilder::new()
        .name("Apache-2.0")
        .identifier(Some("Apache-2.0"))
        .build();
    api.info = InfoBuilder::new()
        .title("Tidewire")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(format!("{DESCRIPTION}{}", rewrite::markdown())))
        .license(Some(licence))
        .build();
    api.extensions = Some(
        ExtensionsBuilder::new()
            .add("x-tidewire-rewrites", rewrites)
            .build(),
    );
    api
}

const NONE: [&str; 0] = [];

const DESCRIPTION: &str = "An event backbone in one binary: facts come in, are kept in one append-only log, and set off \
work.\n\nErrors are RFC 9457 problem details (`application/problem+json`). Times are RFC 3339, UTC. Every answer has \
an `X-Request-Id`. An unknown field in a request is a 400 that names it.\n\nOlder paths are served too:\n\n";

fn declare(operation: &mut Operation, kind: Kind, description: &str) {
    let status = kind.status().to_string();
    let answer = || RefOr::T(answers::answer(kind, description));
    operation
        .responses
        .responses
        .entry(status)
        .or_insert_with(answer);
}

/// A header is there or is missing; null, by which `Option` is described, could not be written.
fn never_null(schema: RefOr<Schema>) -> RefOr<Schema> {
    let RefOr::T(Schema::Object(mut object)) = schema else {
        return schema;
    };
    if let SchemaType::Array(types) = &mut object.schema_type {
        types.retain(|kind| *kind != Type::Null);
        if let [only] = types.as_slice() {
            object.schema_type = SchemaType::Type(only.clone());
        }
    }
    RefOr::T(Schema::Object(object))
}

fn operations(api: &mut OpenApi) -> impl Iterator<Item = (&str, &mut Operation)> {
    api.paths.paths.iter_mut().flat_map(|(path, item)| {
        let PathItem {
            get,
            put,
            post,
            delete,
            options,
            head,
            patch,
            trace,
            ..
        } = item;
        [get, put, post, delete, options, head, patch, trace]
            .into_iter()
            .flatten()
            .map(move |operation| (path.as_str(), operation))
    })
}

/// `/openapi.json` (written once), `/docs/` and the ways that lead there.
pub(crate) fn routes(api: &OpenApi) -> Result<Router, serde_json::Error> {
    let document = Bytes::from(serde_json::to_vec(api)?);
    let description = move || {
        let answer = (
            [(header::CONTENT_TYPE, "application/json")],
            document.clone(),
        );
        async move { answer }
    };
    // The page's files are named relative to it, so it lives below a slash.
    let to_docs = || async { Redirect::to("/docs/") };
    let page = Arc::new(utoipa_swagger_ui::Config::from("/openapi.json"));
    let index = Arc::clone(&page);
    Ok(Router::new()
        .route("/openapi.json", get(description))
        .route("/docs", get(to_docs))
        .route("/swagger/index.html", get(to_docs))
        .route("/docs/", get(move || async move { file("", index) }))
        .route(
            "/docs/{*file}",
            get(move |Path(name): Path<String>| async move { file(&name, page) }),
        ))
}

fn file(name: &str, config: Arc<utoipa_swagger_ui::Config<'static>>) -> Response {
    match utoipa_swagger_ui::serve(name, config) {
        Ok(Some(file)) => {
            let headers = [
                (header::CONTENT_TYPE, file.content_type),
                (header::CACHE_CONTROL, "max-age=3600".to_owned()),
            ];
            let bytes = match file.bytes {
                std::borrow::Cow::Borrowed(bytes) => Bytes::from_static(bytes),
                std::borrow::Cow::Owned(bytes) => Bytes::from(bytes),
            };
            (headers, bytes).into_response()
        }
        Ok(None) => ApiError(Problem::not_found("page", name)).into_response(),
        Err(error) => ApiError(Problem::new(Kind::Internal, error.to_string())).into_response(),
    }
}
