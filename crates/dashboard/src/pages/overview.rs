//! How everything is: what came in, what waits, how late it is, and what fails.

use std::{collections::BTreeMap, time::Duration};

use axum::{Router, extract::State, routing::get};
use chrono::Days;
use maud::{Markup, html};
use tidewire_core::{Problem, Time};
use tidewire_http::ApiError;
use tidewire_jobs::{Job, JobFilter, QueueDepth, Status};
use tidewire_triggers::ExecutionSummary;

use crate::{
    Dashboard,
    chart::{Chart, Column, Role, Series, number, seconds, whole},
    door::Viewer,
    frame::{self, Page},
    parts::{self, badge, count},
    time,
};

pub(super) fn routes() -> Router<Dashboard> {
    Router::new().route("/", get(show))
}

/// The newest jobs whose waiting is looked at.
const LATEST: u32 = 60;
/// Columns of the last hour.
const SLICES: u64 = 12;
const SLICE: Duration = Duration::from_mins(5);
/// Days of jobs.
const DAYS: u64 = 14;
/// Queues and triggers that a chart shows.
const MOST: usize = 12;

/// What the page is made of.
struct Now {
    events: u64,
    /// Where the log was at each slice's start, and now.
    marks: Vec<(Time, u64)>,
    queues: Vec<QueueDepth>,
    waits: Vec<(Job, Duration)>,
    days: Vec<(String, u64, u64)>,
    deliveries: ExecutionSummary,
    now: Time,
}

async fn show(State(dashboard): State<Dashboard>, viewer: Viewer) -> Result<Page, ApiError> {
    let seen = look(&dashboard, &viewer).await?;
    let body = html! {
        (parts::title("Overview", "What came in, what waits, and what fails."))
        @if seen.events == 0 && seen.queues.is_empty() && seen.waits.is_empty() {
            (first_steps(&viewer))
        }
        div #live data-live="overview" aria-live="off" {
            (tiles(&seen))
            div.charts {
                (rates(&seen))
                (depth(&seen))
                (lateness(&seen))
                (failures(&seen))
            }
            (deliveries(&seen))
        }
    };
    Ok(frame::page(&viewer, "/", "Overview", body))
}

async fn look(dashboard: &Dashboard, viewer: &Viewer) -> Result<Now, Problem> {
    let (rooms, now) = (dashboard.rooms(), viewer.visit.now);
    let tenant = &viewer.principal.tenant;
    let events = rooms.events.head(tenant).await?;
    let times: Vec<_> = (0..SLICES)
        .rev()
        .map(|back| now.minus(SLICE * u32::try_from(back + 1).unwrap_or(1)))
        .collect();
    let positions = rooms.events.positions_at(tenant, &times).await?;
    let mut marks: Vec<_> = times.into_iter().zip(positions).collect();
    marks.push((now, events));
    let all = JobFilter::default();
    let latest = rooms.jobs.list(tenant, &all, None, LATEST).await?.jobs;
    let waits = latest.into_iter().filter_map(|job| {
        let wait = waited(&job)?;
        Some((job, wait))
    });
    let today = now.day();
    let from = today - Days::new(DAYS - 1);
    let counted: BTreeMap<_, _> = rooms.jobs.daily_counts(tenant, from, today).await?;
    let days = from.iter_days().take_while(|day| *day <= today).map(|day| {
        let counts = counted.get(&day).copied().unwrap_or_default();
        (day.format("%-d %b").to_string(), counts.done, counts.failed)
    });
    Ok(Now {
        events,
        marks,
        queues: dashboard.inner.depths.of(&rooms.jobs, tenant).await?,
        waits: waits.collect(),
        days: days.collect(),
        deliveries: rooms.triggers.execution_summary(tenant, Some(24)).await?,
        now,
    })
}

/// How long a job was due before its latest attempt began. One that is due again says nothing of it.
fn waited(job: &Job) -> Option<Duration> {
    let started = job.started_at?;
    let known = job.status != Status::Pending && job.attempts == 1;
    known.then(|| started.since(job.run_at.max(job.created_at)))
}

fn tiles(seen: &Now) -> Markup {
    let sum = |of: fn(&QueueDepth) -> u64| seen.queues.iter().map(of).sum::<u64>();
    let (ready, running) = (sum(|depth| depth.ready), sum(|depth| depth.running));
    let oldest = seen.queues.iter().filter_map(|depth| depth.oldest).min();
    let late = oldest.map_or(Duration::ZERO, |due| seen.now.since(due));
    let hour = seen.events
        - seen
            .marks
            .first()
            .map_or(0, |(_, pos)| *pos)
            .min(seen.events);
    let (done, failed) = seen
        .days
        .last()
        .map_or((0, 0), |(_, done, failed)| (*done, *failed));
    let (class, word) = match late.as_secs() {
        0..10 => ("ok", "on time"),
        10..300 => ("wait", "waiting"),
        _ => ("bad", "is anybody working?"),
    };
    html! {
        ul.tiles {
            (tile("/ui/log", "Events in the last hour", &count(hour), &format!("{} in all", count(seen.events)), None))
            (tile("/ui/jobs?status=pending", "Jobs due", &count(ready), &format!("{} running, {} later", count(running), count(sum(|depth| depth.scheduled))), None))
            (tile("/ui/jobs?status=pending", "Oldest job due for", &time::span(late), word, Some(class)))
            (tile("/ui/jobs?status=failed", "Jobs failed today", &count(failed), &if failed == 0 { format!("{} done", count(done)) } else { "to look into".to_owned() },
                Some(if failed == 0 { "ok" } else { "bad" })))
        }
    }
}

fn tile(to: &str, name: &str, value: &str, more: &str, class: Option<&str>) -> Markup {
    html! {
        li { a href=(to) {
            span.name { (name) }
            strong { (value) }
            @match class { Some(class) => (badge(class, more)), None => span.dim { (more) } }
        } }
    }
}

fn rates(seen: &Now) -> Markup {
    let columns: Vec<_> = seen
        .marks
        .windows(2)
        .map(|two| Column {
            name: two[0].0.utc().format("%H:%M").to_string(),
            values: vec![number(two[1].1.saturating_sub(two[0].1))],
        })
        .collect();
    let most = columns
        .iter()
        .map(|column| column.values[0])
        .fold(0.0, f64::max);
    Chart {
        id: "rates",
        title: "Events, last hour",
        summary: format!("at most {} in 5 minutes", whole(most)),
        series: &[Series {
            name: "events in 5 minutes",
            role: Role::Main,
        }],
        columns,
        unit: whole,
        least: 4.0,
        head: "From (UTC)",
    }
    .markup()
}

fn depth(seen: &Now) -> Markup {
    let mut queues: Vec<_> = seen.queues.iter().collect();
    queues.sort_by_key(|depth| std::cmp::Reverse(depth.ready + depth.scheduled + depth.running));
    let columns = queues.iter().take(MOST).map(|depth| Column {
        name: depth.queue.clone(),
        values: vec![
            number(depth.running),
            number(depth.ready),
            number(depth.scheduled),
        ],
    });
    let due: u64 = seen.queues.iter().map(|depth| depth.ready).sum();
    Chart {
        id: "depth",
        title: "Queues, now",
        summary: match seen.queues.len() {
            0 => "every queue is empty".to_owned(),
            1 => format!("1 queue, {} due", count(due)),
            some => format!("{some} queues, {} due", count(due)),
        },
        series: &[
            Series {
                name: "running",
                role: Role::Busy,
            },
            Series {
                name: "due",
                role: Role::Main,
            },
            Series {
                name: "later",
                role: Role::Wait,
            },
        ],
        columns: columns.collect(),
        unit: whole,
        least: 4.0,
        head: "Queue",
    }
    .markup()
}

fn lateness(seen: &Now) -> Markup {
    let mut sorted: Vec<_> = seen.waits.iter().map(|(_, wait)| *wait).collect();
    sorted.sort_unstable();
    let columns = seen.waits.iter().rev().map(|(job, wait)| Column {
        name: job
            .started_at
            .map_or(String::new(), |at| at.utc().format("%H:%M").to_string()),
        values: vec![wait.as_secs_f64()],
    });
    let summary = match sorted.get(sorted.len() / 2) {
        None => "no job has run yet".to_owned(),
        Some(half) => format!(
            "of the newest {} jobs half waited {} at most, none more than {}",
            sorted.len(),
            time::span(*half),
            time::span(*sorted.last().unwrap_or(half))
        ),
    };
    Chart {
        id: "lateness",
        title: "How late jobs began",
        summary,
        series: &[Series {
            name: "from due to begun",
            role: Role::Main,
        }],
        columns: columns.collect(),
        unit: seconds,
        least: 0.01,
        head: "Begun (UTC)",
    }
    .markup()
}

fn failures(seen: &Now) -> Markup {
    let columns = seen.days.iter().map(|(day, done, failed)| Column {
        name: day.clone(),
        values: vec![number(*failed), number(*done)],
    });
    let (done, failed) = seen
        .days
        .iter()
        .fold((0, 0), |(done, failed), day| (done + day.1, failed + day.2));
    Chart {
        id: "failures",
        title: "Jobs a day, two weeks",
        summary: format!("{} done, {} failed", count(done), count(failed)),
        series: &[
            Series {
                name: "failed",
                role: Role::Bad,
            },
            Series {
                name: "done",
                role: Role::Good,
            },
        ],
        columns: columns.collect(),
        unit: whole,
        least: 4.0,
        head: "Day",
    }
    .markup()
}

fn deliveries(seen: &Now) -> Markup {
    let summary = &seen.deliveries;
    if summary.total == 0 {
        return html! {};
    }
    html! {
        section.panel aria-labelledby="deliveries" {
            h2 #deliveries { "Triggers, last 24 hours" }
            (parts::table(&["Trigger", "Fired", "Succeeded", "Failed", "Pending"], html! {
                @for trigger in summary.triggers.iter().take(MOST) {
                    tr {
                        td { @match &trigger.trigger_id {
                            Some(id) => a href={ "/ui/triggers/" (id) } { (trigger.name.as_deref().unwrap_or(id)) },
                            None => span.dim { "tests of triggers that are not stored" },
                        } }
                        td.number { (count(trigger.total)) }
                        td.number { (count(trigger.by_status.success)) }
                        td.number { @if trigger.by_status.failure > 0 { (badge("bad", &count(trigger.by_status.failure))) } @else { "0" } }
                        td.number { (count(trigger.by_status.pending)) }
                    }
                }
            }))
        }
    }
}

/// A server that has nothing yet.
fn first_steps(viewer: &Viewer) -> Markup {
    let visit = &viewer.visit;
    html! {
        section.empty {
            h2 { "Nothing has happened yet" }
            p { "Store the first event, let a job run, and have something fire every minute:" }
            (parts::command(&visit.command("events append user.signed-up --payload '{\"plan\":\"free\"}' --subject ann")))
            (parts::command(&visit.command("jobs enqueue echo --payload '{\"hello\":\"world\"}'")))
            (parts::command(&visit.command("triggers create --name heartbeat --every 1m --job echo")))
        }
    }
}
