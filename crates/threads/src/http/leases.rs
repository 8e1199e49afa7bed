//! Instances of agents: which threads want one, and which instance has which thread. For whoever starts
//! and stops instances.

use std::{collections::HashSet, sync::Arc, time::Duration};

use axum::extract::State;
use serde::{Deserialize, Serialize};
use tidewire_access::Service as Access;
use tidewire_core::{FieldError, Problem, name, page, principal::DEFAULT_TENANT};
use tidewire_http::{ApiError, Capped, Json, Operator, Query};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Threads,
    demand::Demand,
    leases::{Lease, LeaseAnswer, LeaseEnd, LeaseEnded, NewLease},
};

const LIST: &str = "leases";
/// Leases in one request.
const MAX_BATCH: usize = 500;
const DEFAULT_LEASE: u32 = 60;
const MIN_LEASE: u32 = 5;
const MAX_LEASE: u32 = 3600;
/// Seconds that an answer may wait for a change.
const MAX_WAIT: u64 = 60;

#[derive(Clone)]
struct Api {
    threads: Threads,
    access: Access,
}

pub(super) fn routes(threads: Threads, access: Access) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(demand))
        .routes(routes!(hold, list))
        .routes(routes!(release))
        .with_state(Api { threads, access })
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct DemandQuery {
    /// The `revision` of an answer before: this one is held until there is another.
    revision: Option<String>,
    /// Seconds to hold the answer: at most 60, 0 if it is missing.
    #[param(minimum = 0, maximum = 60)]
    wait_seconds: Option<u64>,
}

/// Which threads have open turns (scope admin).
///
/// Of all tenants, each with its first open turn: one entry for each thread that has any, however many
/// they are. With `revision` and `wait_seconds` the answer is held as long as it would say the same
/// (long-poll). Turns that nobody was asked for, as an agent said them of itself, want nobody.
#[utoipa::path(
    get, path = "/v1/agents/demand", tag = "agents", operation_id = "getAgentDemand",
    params(DemandQuery),
    responses((status = 200, description = "the threads", body = Demand))
)]
async fn demand(
    _: Operator,
    State(api): State<Api>,
    Query(query): Query<DemandQuery>,
) -> Result<Json<Demand>, ApiError> {
    let wait = query.wait_seconds.unwrap_or(0);
    if wait > MAX_WAIT {
        let text = format!("is {wait}: 0 to {MAX_WAIT} seconds");
        return Err(Problem::invalid("wait_seconds", text).into());
    }
    let seen = query.revision.as_deref();
    Ok(Json(
        api.threads.demand(seen, Duration::from_secs(wait)).await?,
    ))
}

/// A lease that an instance is to have, or to go on having.
#[derive(Deserialize, utoipa::ToSchema)]
#[schema(as = NewAgentLease)]
#[serde(deny_unknown_fields)]
struct HoldItem {
    /// `default` if it is missing.
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9._:-]+$")]
    tenant_id: Option<String>,
    /// The instance's name, under which it claims; not to be given to another one later.
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9._:-]+$")]
    worker: String,
    /// The agent that the instance is; turns that name none if it is missing. It stays as it was at first.
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9._:-]+$")]
    agent: Option<String>,
    /// The thread that is its own, made if it is not there. A lease without one may get one later, and keeps
    /// it then.
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9._:-]+$")]
    thread_id: Option<String>,
    /// From now on; 60 if it is missing.
    #[schema(minimum = 5, maximum = 3600)]
    lease_seconds: Option<u32>,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[schema(as = HoldAgentLeases)]
#[serde(deny_unknown_fields)]
struct HoldBody {
    #[schema(value_type = Vec<HoldItem>, max_items = 500)]
    leases: Capped<HoldItem, MAX_BATCH>,
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = AgentLeasesHeld)]
struct Held {
    /// Each in the place of what was asked for.
    leases: Vec<LeaseAnswer>,
}

/// Make leases of agents' instances, or go on with them (scope admin).
///
/// Each is held or refused by itself. For an unknown `worker` a lease is made, with the key of its instance
/// (scope `agent`), which is shown only here; a known one is renewed, and its key with it, and gets the thread
/// if it had none. Refused is a thread that another instance has, another thread than the instance's own, and
/// a tenant that is unknown. One that has expired is renewed too, unless another instance has its thread by
/// now: to that it has given way as one that is lost.
///
/// The turns of a leased thread are kept for its instance until the lease ends, as far as they name its agent.
#[utoipa::path(
    post, path = "/v1/agents/leases", tag = "agents", operation_id = "holdAgentLeases",
    request_body(content = HoldBody, content_type = "application/json"),
    responses((status = 200, description = "what came of each", body = Held))
)]
async fn hold(
    _: Operator,
    State(api): State<Api>,
    Json(body): Json<HoldBody>,
) -> Result<Json<Held>, ApiError> {
    let Capped(asked) = body.leases;
    let mut check = Check::default();
    for (place, item) in asked.iter().enumerate() {
        check.instance(place, item.tenant_id.as_ref(), &item.worker);
        check.name(place, "agent", item.agent.as_ref());
        check.name(place, "thread_id", item.thread_id.as_ref());
        let lease = item.lease_seconds.unwrap_or(DEFAULT_LEASE);
        if !(MIN_LEASE..=MAX_LEASE).contains(&lease) {
            let text = format!("is {lease}: {MIN_LEASE} to {MAX_LEASE}");
            check.note(place, "lease_seconds", text);
        }
    }
    Problem::all(check.errors)?;
    let asked = asked
        .into_iter()
        .map(|item| NewLease {
            tenant: tenant(item.tenant_id),
            worker: item.worker.into(),
            agent: item.agent,
            thread: item.thread_id.map(Arc::from),
            lease: Duration::from_secs(item.lease_seconds.unwrap_or(DEFAULT_LEASE).into()),
        })
        .collect();
    Ok(Json(Held {
        leases: api.threads.hold(&api.access, asked).await?,
    }))
}

/// A lease that is to end.
#[derive(Deserialize, utoipa::ToSchema)]
#[schema(as = EndAgentLease)]
#[serde(deny_unknown_fields)]
struct ReleaseItem {
    /// `default` if it is missing.
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9._:-]+$")]
    tenant_id: Option<String>,
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9._:-]+$")]
    worker: String,
    /// The instance is gone, or must give up what it runs.
    lost: Option<bool>,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[schema(as = ReleaseAgentLeases)]
#[serde(deny_unknown_fields)]
struct ReleaseBody {
    #[schema(value_type = Vec<ReleaseItem>, max_items = 500)]
    leases: Capped<ReleaseItem, MAX_BATCH>,
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = AgentLeasesReleased)]
struct Released {
    /// Each in the place of what was asked for.
    leases: Vec<LeaseEnded>,
}

/// End leases of agents' instances (scope admin).
///
/// A lease whose thread has an open turn for the instance is `busy`, and goes on. One that is `lost` ends
/// whatever runs: the attempt that the instance has in hand is consumed, and its turn is everybody's at once.
/// The key ends with the lease.
#[utoipa::path(
    post, path = "/v1/agents/leases/release", tag = "agents", operation_id = "releaseAgentLeases",
    request_body(content = ReleaseBody, content_type = "application/json"),
    responses((status = 200, description = "what came of each", body = Released))
)]
async fn release(
    _: Operator,
    State(api): State<Api>,
    Json(body): Json<ReleaseBody>,
) -> Result<Json<Released>, ApiError> {
    let Capped(asked) = body.leases;
    let mut check = Check::default();
    for (place, item) in asked.iter().enumerate() {
        check.instance(place, item.tenant_id.as_ref(), &item.worker);
    }
    Problem::all(check.errors)?;
    let asked = asked
        .into_iter()
        .map(|item| LeaseEnd {
            tenant: tenant(item.tenant_id),
            worker: item.worker.into(),
            lost: item.lost.unwrap_or(false),
        })
        .collect();
    Ok(Json(Released {
        leases: api.threads.release(&api.access, asked).await?,
    }))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// Leases in a page: 1 to 500, 50 if it is missing.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = AgentLeasePage)]
struct LeasePage {
    leases: Vec<Lease>,
    /// Send it as `cursor` for the next page; null at the end.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// List leases of agents' instances, newest first (scope admin).
///
/// Of all tenants, also those that have expired; these are forgotten after an hour.
#[utoipa::path(
    get, path = "/v1/agents/leases", tag = "agents", operation_id = "listAgentLeases",
    params(ListQuery),
    responses((status = 200, description = "a page of leases", body = LeasePage))
)]
async fn list(
    _: Operator,
    State(api): State<Api>,
    Query(query): Query<ListQuery>,
) -> Result<Json<LeasePage>, ApiError> {
    let limit = page::limit(query.limit)?;
    let before = query.cursor.map(|cursor| page::key(LIST, &cursor));
    let before = before.transpose()?;
    let (leases, next) = api.threads.leases(before.as_deref(), limit).await?;
    Ok(Json(LeasePage {
        leases,
        next_cursor: next.map(|key| page::cursor(LIST, &key)),
    }))
}

fn tenant(id: Option<String>) -> Arc<str> {
    id.map_or_else(|| DEFAULT_TENANT.into(), Arc::from)
}

/// What is wrong with the items of a request.
#[derive(Default)]
struct Check {
    errors: Vec<FieldError>,
    seen: HashSet<(String, String)>,
}

impl Check {
    fn note(&mut self, place: usize, field: &str, detail: String) {
        self.errors.push(FieldError {
            pointer: format!("/leases/{place}/{field}"),
            detail,
        });
    }

    fn name(&mut self, place: usize, field: &str, text: Option<&String>) {
        if let Some(text) = text
            && let Err(detail) = name::check(text, name::ID_MAX)
        {
            self.note(place, field, detail);
        }
    }

    fn instance(&mut self, place: usize, id: Option<&String>, worker: &String) {
        self.name(place, "tenant_id", id);
        self.name(place, "worker", Some(worker));
        let tenant = id.map_or(DEFAULT_TENANT, String::as_str).to_owned();
        if !self.seen.insert((tenant, worker.clone())) {
            let text = "is named twice: name each instance once".to_owned();
            self.note(place, "worker", text);
        }
    }
}
