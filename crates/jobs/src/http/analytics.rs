//! Counts by day: events received, jobs done, jobs failed.

use std::collections::BTreeMap;

use axum::extract::State;
use chrono::{Datelike as _, Days, NaiveDate};
use serde::{Deserialize, Serialize};
use tidewire_core::{Problem, Scope};
use tidewire_events::Events;
use tidewire_http::{ApiError, Caller, Json, Query};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{Error, Jobs};

const DEFAULT_DAYS: u64 = 30;
const MOST_DAYS: i64 = 366;

pub(super) fn routes(jobs: Jobs, events: Events) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(summary))
        .routes(routes!(timeseries))
        .with_state((jobs, events))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct RangeQuery {
    /// The first day (UTC), YYYY-MM-DD; 29 days before `to` if it is missing.
    from: Option<NaiveDate>,
    /// The last day (UTC), YYYY-MM-DD; today if it is missing. At most 366 days in all.
    to: Option<NaiveDate>,
}

/// Days, both ends inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    from: NaiveDate,
    to: NaiveDate,
}

impl RangeQuery {
    fn range(self, today: NaiveDate) -> Result<Range, Problem> {
        let default = Days::new(DEFAULT_DAYS - 1);
        // A `from` alone means from then until today.
        let to = self.to.unwrap_or(today);
        let from = match self.from {
            Some(from) => from,
            None => to.checked_sub_days(default).unwrap_or(to),
        };
        for (name, day) in [("from", from), ("to", to)] {
            if !(1..=9999).contains(&day.year()) {
                return Err(Problem::invalid(name, "is outside the years 0001 to 9999"));
            }
        }
        if from > to {
            let text = format!("is {from}, which is after `to`, {to}");
            return Err(Problem::invalid("from", text));
        }
        let days = (to - from).num_days() + 1;
        if days > MOST_DAYS {
            let text = format!("leaves {days} days until {to}, and {MOST_DAYS} are the most");
            return Err(Problem::invalid("from", text));
        }
        Ok(Range { from, to })
    }
}

#[derive(Serialize, utoipa::ToSchema)]
struct Summary {
    from: NaiveDate,
    to: NaiveDate,
    /// Duplicates are not counted.
    events_received: u64,
    jobs_done: u64,
    jobs_failed: u64,
}

#[derive(Serialize, utoipa::ToSchema)]
struct Timeseries {
    /// Every day of the range, oldest first.
    days: Vec<Day>,
}

#[derive(Clone, Debug, Default, Serialize, utoipa::ToSchema)]
struct Day {
    day: NaiveDate,
    /// Duplicates are not counted.
    events_received: u64,
    jobs_done: u64,
    jobs_failed: u64,
}

async fn days(
    jobs: &Jobs,
    events: &Events,
    tenant: &str,
    range: Range,
) -> Result<BTreeMap<NaiveDate, Day>, Error> {
    let Range { from, to } = range;
    let counts = jobs.daily_counts(tenant, from, to).await?;
    let received = events.received_by_day(tenant, from, to).await?;
    let mut days: BTreeMap<NaiveDate, Day> = BTreeMap::new();
    for (day, counts) in counts {
        let entry = days.entry(day).or_default();
        entry.jobs_done = counts.done;
        entry.jobs_failed = counts.failed;
    }
    for (day, received) in received {
        days.entry(day).or_default().events_received = received;
    }
    Ok(days)
}

/// Counts over a range of days.
#[utoipa::path(
    get, path = "/v1/analytics/summary", tag = "analytics", operation_id = "getSummary",
    params(RangeQuery),
    responses((status = 200, description = "the sums", body = Summary))
)]
async fn summary(
    State((jobs, events)): State<(Jobs, Events)>,
    Caller(principal): Caller,
    Query(query): Query<RangeQuery>,
) -> Result<Json<Summary>, ApiError> {
    principal.require(Scope::Read)?;
    let range = query.range(jobs.clock().now().day())?;
    let mut sum = Summary {
        from: range.from,
        to: range.to,
        events_received: 0,
        jobs_done: 0,
        jobs_failed: 0,
    };
    for day in days(&jobs, &events, &principal.tenant, range)
        .await?
        .values()
    {
        sum.events_received += day.events_received;
        sum.jobs_done += day.jobs_done;
        sum.jobs_failed += day.jobs_failed;
    }
    Ok(Json(sum))
}

/// Counts of each day of a range.
#[utoipa::path(
    get, path = "/v1/analytics/timeseries", tag = "analytics", operation_id = "getTimeseries",
    params(RangeQuery),
    responses((status = 200, description = "every day, zeros included", body = Timeseries))
)]
async fn timeseries(
    State((jobs, events)): State<(Jobs, Events)>,
    Caller(principal): Caller,
    Query(query): Query<RangeQuery>,
) -> Result<Json<Timeseries>, ApiError> {
    principal.require(Scope::Read)?;
    let range = query.range(jobs.clock().now().day())?;
    let mut counted = days(&jobs, &events, &principal.tenant, range).await?;
    let days = range
        .from
        .iter_days()
        .take_while(|day| *day <= range.to)
        .map(|day| Day {
            day,
            ..counted.remove(&day).unwrap_or_default()
        })
        .collect();
    Ok(Json(Timeseries { days }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(from: Option<&str>, to: Option<&str>) -> Result<(String, String), Problem> {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        let query = RangeQuery {
            from: from.map(day),
            to: to.map(day),
        };
        let range = query.range(day("2026-03-01"))?;
        Ok((range.from.to_string(), range.to.to_string()))
    }

    #[test]
    fn a_range_has_two_ends_and_at_most_a_year() {
        let ends = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        assert_eq!(range(None, None).unwrap(), ends("2026-01-31", "2026-03-01"));
        assert_eq!(
            range(None, Some("2020-01-30")).unwrap(),
            ends("2020-01-01", "2020-01-30")
        );
        assert_eq!(
            range(Some("2026-02-28"), None).unwrap(),
            ends("2026-02-28", "2026-03-01")
        );
        assert!(
            range(Some("2026-03-02"), None).is_err(),
            "it ends before it begins"
        );
        assert!(
            range(Some("2025-01-01"), Some("2026-01-01")).is_ok(),
            "366 days"
        );
        assert!(range(Some("2025-01-01"), Some("2026-01-02")).is_err());
        assert!(range(None, Some("+12026-01-02")).is_err());
    }
}
