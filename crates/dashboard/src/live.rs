//! What makes pages live. A page that is open asks for one stream, which says when something that it
//! shows has changed; the page then asks for itself again and puts in place what differs. So there is
//! one way to make a page, and without JavaScript it is only older.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use axum::{Router, extract::State, response::Response, routing::get};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use serde::Deserialize;
use tidewire_core::{Principal, Problem, Scope};
use tidewire_fleet::PageOf;
use tidewire_http::{ApiError, Query, sse};
use tidewire_jobs::JobFilter;
use tidewire_triggers::{ExecutionQuery, Page, TriggerQuery};
use tokio::time::{Instant, sleep};

use crate::{Dashboard, door::Viewer, session::Session};

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(1);
/// A page may show more than what is looked at: it asks again after this in any case.
const AT_LATEST: Duration = Duration::from_secs(10);
/// Rows of a list that are looked at.
const ROWS: u32 = 50;

pub(crate) fn routes() -> Router<Dashboard> {
    Router::new().route("/ui/live/changes", get(changes))
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Topic {
    Overview,
    Log,
    Jobs,
    Triggers,
    Executions,
    Threads,
    Sites,
    Archives,
    Fleet,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Of {
    of: Topic,
}

async fn changes(
    State(dashboard): State<Dashboard>,
    viewer: Viewer,
    Query(Of { of }): Query<Of>,
) -> Result<Response, ApiError> {
    let look = Look {
        last: dashboard.version(&viewer.principal, of).await?,
        dashboard: dashboard.clone(),
        of,
        session: viewer.visit.session,
        told: Instant::now(),
    };
    let frames = stream::unfold(look, |mut look| async move {
        let frame = look.next().await?;
        Some((frame, look))
    });
    Ok(sse::response(frames, &dashboard.inner.shutdown))
}

/// Somebody's look at one topic.
struct Look {
    dashboard: Dashboard,
    of: Topic,
    session: Option<Session>,
    last: u64,
    told: Instant,
}

impl Look {
    /// The next frame; none once the session is over.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            sleep(EVERY).await;
            let principal = self.dashboard.still(self.session.as_ref()).await?;
            // A store that is away for a moment is no reason to end.
            let version = self.dashboard.version(&principal, self.of).await;
            let version = version.unwrap_or(self.last);
            if version != self.last || self.told.elapsed() >= AT_LATEST {
                self.last = version;
                self.told = Instant::now();
                let mut frame = BytesMut::new();
                sse::frame(&mut frame, None, Some("changed"), b"");
                return Some(frame.freeze());
            }
        }
    }
}

impl Dashboard {
    /// Whether whoever began to look may look on.
    pub(crate) async fn still(&self, session: Option<&Session>) -> Option<Principal> {
        let access = &self.rooms().access;
        let principal = match session {
            Some(session) => {
                if session.expires <= self.rooms().clock.now() {
                    return None;
                }
                let tenant = session.tenant.as_deref();
                let resumed = access.resume(&session.handle, session.secret(), tenant);
                resumed.await.ok()?
            }
            None => access.caller(&http::HeaderMap::new()).await.ok()?,
        };
        principal.require(Scope::Read).ok()?;
        Some(principal)
    }

    /// A number that changes with what a topic's first page shows.
    async fn version(&self, principal: &Principal, of: Topic) -> Result<u64, Problem> {
        let tenant = &principal.tenant;
        let rooms = self.rooms();
        let mut hash = DefaultHasher::new();
        if matches!(of, Topic::Overview | Topic::Log) {
            rooms.events.head(tenant).await?.hash(&mut hash);
        }
        if matches!(
            of,
            Topic::Overview | Topic::Jobs | Topic::Archives | Topic::Sites
        ) {
            let all = JobFilter::default();
            for job in rooms.jobs.list(tenant, &all, None, ROWS).await?.jobs {
                (job.id, job.status.as_str(), job.attempts).hash(&mut hash);
            }
        }
        let first = Page::of(None, Some(ROWS))?;
        if of == Topic::Triggers {
            let query = TriggerQuery::default();
            for trigger in rooms.triggers.list(tenant, query, first).await?.0 {
                let next = trigger.next_scheduled_run.map(|at| at.micros());
                (trigger.id, trigger.updated_at.micros(), next).hash(&mut hash);
            }
        }
        if matches!(of, Topic::Overview | Topic::Executions | Topic::Triggers) {
            let query = ExecutionQuery::default();
            for execution in rooms.triggers.executions(tenant, query, first).await?.0 {
                let state = execution.execution_status.as_str();
                (execution.id, state, execution.attempts.len()).hash(&mut hash);
            }
        }
        if of == Topic::Threads {
            for thread in rooms.threads.threads(tenant, None, ROWS).await?.0 {
                let status = format!("{:?}", thread.status);
                (thread.thread_id, thread.last_seq, status).hash(&mut hash);
            }
        }
        if of == Topic::Archives {
            for archive in rooms.archives.list(tenant, None, ROWS).await?.0 {
                archive.id.hash(&mut hash);
            }
        }
        if of == Topic::Sites {
            for site in rooms.sites.list(tenant, None, ROWS).await?.0 {
                (site.id, site.updated_at.micros()).hash(&mut hash);
            }
        }
        if of == Topic::Fleet {
            let first = PageOf {
                limit: Some(ROWS),
                cursor: None,
            };
            for agent in rooms.fleet.agents(tenant, false, &first).await?.0 {
                let tried = agent.last_attempt.map(|tried| tried.at.micros());
                let seen = agent.last_seen_at.map(|at| at.micros() / 10_000_000);
                (agent.agent_id, agent.offered, agent.running, tried, seen).hash(&mut hash);
            }
        }
        Ok(hash.finish())
    }
}
