//! Events of users that are recorded by hand, and made up.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use tidewire_core::{FieldError, Problem, Time, clock, json, name, problem::clip};
use tidewire_db::{Error as DbError, Tx};
use tidewire_events::{Append, Appended, Event, Filter, MAX_PAYLOAD, NewEvent, Page};
use url::Url;

use super::{Inner, Sites, stream_of};
use crate::{
    Error, SOURCE, attribution,
    model::Touch,
    sync::{Window, broken},
};

/// The stream of what is recorded by hand.
const STREAM: &str = "sites";
const ATTRIBUTION: &str = "attribution";
const UTM_SOURCE: &str = "utm_source";
/// Characters of a subject, a key, and of where somebody came from.
const MAX_TEXT: usize = 512;
const MAX_UTM: usize = 255;
/// Events that one request makes up.
const MOST_AT_ONCE: u32 = 1_000;
/// Users among whom some are drawn.
const CROWD: u32 = 500;

const UTM_SOURCES: [&str; 6] = [
    "direct",
    "facebook",
    "google",
    "instagram",
    "newsletter",
    "partner",
];
const UTM_MEDIUMS: [&str; 4] = ["cpc", "email", "organic", "social"];

/// An event of a user as somebody records it.
#[derive(Clone, Debug)]
pub struct NewSiteEvent {
    pub user_id: String,
    pub kind: Option<String>,
    pub utm_source: Option<String>,
    pub payload: Option<Box<RawValue>>,
    pub dedupe_key: Option<String>,
    pub occurred_at: Option<Time>,
}

/// What is to be made up.
#[derive(Clone, Debug, Default)]
pub struct RandomEvents {
    pub site_id: Option<String>,
    pub user_id: Option<String>,
    pub count: Option<u32>,
}

/// An event of a user, with what it says of them in front.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = SiteEvent)]
pub struct Recorded {
    #[serde(flatten)]
    pub event: Event,
    /// Its `subject`.
    #[schema(required)]
    pub user_id: Option<String>,
    /// From its payload.
    #[schema(required)]
    pub utm_source: Option<String>,
}

impl From<Event> for Recorded {
    fn from(event: Event) -> Self {
        #[derive(Deserialize)]
        struct Says {
            utm_source: Option<String>,
        }
        let says = serde_json::from_str::<Says>(event.payload.get());
        Recorded {
            user_id: event.subject.clone(),
            utm_source: says.ok().and_then(|says| says.utm_source),
            event,
        }
    }
}

/// An event that was checked.
#[derive(Clone, Debug)]
struct Checked {
    user_id: String,
    kind: String,
    utm_source: Option<String>,
    payload: Box<RawValue>,
    dedupe_key: Option<String>,
    occurred_at: Time,
    /// Somebody said when it happened: it may come late.
    may_be_late: bool,
}

impl NewSiteEvent {
    fn check(self, now: Time) -> Result<Checked, Problem> {
        let mut errors = Vec::new();
        let mut note = |pointer: &str, checked: Result<(), String>| {
            if let Err(detail) = checked {
                errors.push(FieldError {
                    pointer: pointer.to_owned(),
                    detail,
                });
            }
        };
        let kind = self.kind.unwrap_or_else(|| ATTRIBUTION.to_owned());
        note("/user_id", name::check_text(&self.user_id, MAX_TEXT));
        note("/type", name::check(&kind, name::TYPE_MAX));
        if let Some(key) = &self.dedupe_key {
            note("/dedupe_key", name::check_text(key, MAX_TEXT));
        }
        if let Some(utm_source) = &self.utm_source {
            note("/utm_source", name::check_text(utm_source, MAX_UTM));
        }
        Problem::all(errors)?;
        let (payload, utm_source) = payload(self.payload.as_deref(), self.utm_source)?;
        Ok(Checked {
            user_id: self.user_id,
            kind,
            utm_source,
            payload,
            dedupe_key: self.dedupe_key,
            may_be_late: self.occurred_at.is_some(),
            occurred_at: self.occurred_at.unwrap_or(now),
        })
    }
}

/// The payload with the `utm_source` in it, from wherever it was given.
fn payload(
    given: Option<&RawValue>,
    utm_source: Option<String>,
) -> Result<(Box<RawValue>, Option<String>), Problem> {
    let text = given.map_or("{}", RawValue::get);
    if text.len() > MAX_PAYLOAD / 2 {
        let most = MAX_PAYLOAD / 2;
        return Err(Problem::invalid(
            "/payload",
            format!("has {} bytes, and at most {most} are taken", text.len()),
        ));
    }
    json::check(text)
        .map_err(|fault| Problem::invalid(format!("/payload{}", fault.pointer), fault.detail))?;
    // Members stay as they were written: a number keeps its digits.
    let members = serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(text);
    let mut members = members.map_err(|_| {
        Problem::invalid("/payload", "must be an object: `utm_source` is added to it")
    })?;
    let inside = match members.get(UTM_SOURCE).map(|raw| raw.get()) {
        None | Some("null") => None,
        Some(raw) => {
            let wrong = || Problem::invalid("/payload/utm_source", "must be a string, or null");
            let text = serde_json::from_str::<String>(raw).map_err(|_| wrong())?;
            name::check_text(&text, MAX_UTM)
                .map_err(|why| Problem::invalid("/payload/utm_source", why))?;
            Some(text)
        }
    };
    let utm_source = match (utm_source, inside) {
        (Some(said), Some(inside)) if said != inside => {
            let why = format!(
                "is `{}`, and the payload says `{}`",
                clip(&said),
                clip(&inside)
            );
            return Err(Problem::invalid("/utm_source", why));
        }
        (said, inside) => said.or(inside),
    };
    let broken = |error: serde_json::Error| Problem::invalid("/payload", error.to_string());
    members.insert(
        UTM_SOURCE.to_owned(),
        to_raw_value(&utm_source).map_err(broken)?,
    );
    Ok((to_raw_value(&members).map_err(broken)?, utm_source))
}

impl Sites {
    /// Stores an event of a user; the event, and whether its key was seen before.
    pub async fn record(
        &self,
        tenant: &Arc<str>,
        event: NewSiteEvent,
    ) -> Result<(Recorded, bool), Error> {
        let checked = event.check(self.inner.clock.now())?;
        let stored = self.inner.store_events(tenant, vec![checked]).await?;
        let stored = stored.into_iter().next();
        let Some(first) = stored else {
            let none = "an event was not stored".to_owned();
            return Err(DbError::Broken(none).into());
        };
        let event = self.inner.events.get(tenant, &first.id).await?;
        Ok((event.into(), first.duplicated))
    }

    /// A page of events of sites and their users before a position, newest first.
    pub async fn events(
        &self,
        tenant: &str,
        (user_id, kind): (Option<String>, Option<String>),
        before: Option<u64>,
        limit: u32,
    ) -> Result<Page, Error> {
        let filter = Filter {
            subject: user_id,
            kind,
            source: Some(SOURCE.to_owned()),
            ..Filter::default()
        };
        Ok(self
            .inner
            .events
            .list(tenant, &filter, before, limit)
            .await?)
    }

    /// Makes attributions up: of a user, of users of a site, or of anybody.
    pub async fn make_up(
        &self,
        tenant: &Arc<str>,
        wanted: RandomEvents,
    ) -> Result<Vec<Recorded>, Error> {
        let count = match wanted.count.unwrap_or(1) {
            count @ 1..=MOST_AT_ONCE => count,
            count => {
                let why = format!("must be 1 to {MOST_AT_ONCE}, it is {count}");
                return Err(Problem::invalid("/count", why).into());
            }
        };
        if let Some(site) = &wanted.site_id {
            name::check(site, name::ID_MAX).map_err(|why| Problem::invalid("/site_id", why))?;
        }
        if let Some(user_id) = &wanted.user_id {
            name::check_text(user_id, MAX_TEXT).map_err(|why| Problem::invalid("/user_id", why))?;
        }
        let crowd = match (wanted.user_id, &wanted.site_id) {
            (Some(user), _) => vec![user],
            (None, Some(site)) => self.inner.users_of(tenant, site).await?,
            (None, None) => self.inner.users(tenant, None).await?,
        };
        let now = self.inner.clock.now();
        let made = (0..count).map(|n| {
            let made_up = || format!("user-{}", 1 + draw(1_000));
            let event = NewSiteEvent {
                user_id: pick(&crowd).cloned().unwrap_or_else(made_up),
                kind: None,
                utm_source: pick(&UTM_SOURCES).map(|source| (*source).to_owned()),
                payload: to_raw_value(&serde_json::json!({
                    "site_id": wanted.site_id,
                    "utm_medium": pick(&UTM_MEDIUMS),
                    "utm_campaign": format!("campaign-{}", 1 + draw(20)),
                }))
                .ok(),
                dedupe_key: None,
                occurred_at: None,
            };
            // No two at once: which of a user's is the latest is plain to see.
            event.check(now.plus(Duration::from_micros(n.into())))
        });
        let made = made.collect::<Result<Vec<_>, _>>()?;
        let stored = self.inner.store_events(tenant, made.clone()).await?;
        let events = made.into_iter().zip(stored).map(|(made, stored)| Recorded {
            user_id: Some(made.user_id.clone()),
            utm_source: made.utm_source,
            event: Event {
                pos: tidewire_core::ids::event_pos(&stored.id).unwrap_or(0),
                id: stored.id,
                stream: stored.stream,
                seq: stored.seq,
                kind: made.kind,
                subject: Some(made.user_id),
                payload: made.payload,
                dedupe_key: None,
                source: Some(SOURCE.to_owned()),
                occurred_at: made.occurred_at,
                created_at: stored.created_at,
                depth: 0,
            },
        });
        Ok(events.collect())
    }
}

impl Inner {
    /// Stores events, the touches among them, and what late ones correct, all in one transaction.
    async fn store_events(
        self: &Arc<Self>,
        tenant: &Arc<str>,
        events: Vec<Checked>,
    ) -> Result<Vec<Appended>, Error> {
        let (inner, tenant, events) = (Arc::clone(self), Arc::clone(tenant), Arc::new(events));
        let stored = self.db.transact("sites.events", move |tx| {
            let (inner, tenant) = (Arc::clone(&inner), Arc::clone(&tenant));
            let events = Arc::clone(&events);
            Box::pin(async move { inner.store_in(tx, &tenant, &events).await })
        });
        Ok(stored.await?)
    }

    async fn store_in(
        &self,
        tx: &mut Tx,
        tenant: &Arc<str>,
        events: &[Checked],
    ) -> Result<Vec<Appended>, DbError> {
        attribution::lock(tx, tenant).await?;
        let new = events.iter().map(|event| {
            let new = NewEvent::kept(STREAM, event.kind.as_str(), event.payload.clone())
                .about(event.user_id.as_str())
                .said_by(SOURCE)
                .occurred(event.occurred_at);
            match &event.dedupe_key {
                Some(key) => new.once(key.as_str()),
                None => new,
            }
        });
        let append = [Append::new(Arc::clone(tenant), new.collect())];
        let stored = self.events.append_in(tx, &append).await.map_err(broken)?;
        let stored = stored.into_iter().next();
        let none = || DbError::Broken("an append was not answered".to_owned());
        let stored = stored.ok_or_else(none)?.map_err(broken)?;
        let (mut touches, mut late) = (Vec::new(), Vec::new());
        for (event, stored) in events.iter().zip(&stored) {
            let Some(utm_source) = event.utm_source.as_ref().filter(|_| !stored.duplicated) else {
                continue;
            };
            let touch = Touch {
                utm_source: utm_source.clone(),
                occurred_at: event.occurred_at,
                pos: tidewire_core::ids::event_pos(&stored.id).unwrap_or(0),
                event_id: stored.id.clone(),
            };
            if event.may_be_late {
                late.push((event.user_id.as_str(), touch.clone()));
            }
            touches.push((event.user_id.as_str(), touch));
        }
        self.store.insert_touches(tx, tenant, &touches).await?;
        attribution::correct_in(tx, &self.events, tenant, &late).await?;
        Ok(stored)
    }

    /// Users of a site: those that are known, else some that its source names.
    async fn users_of(&self, tenant: &Arc<str>, site: &str) -> Result<Vec<String>, Error> {
        let row = self.site(tenant, site).await?;
        let known = self.users(tenant, Some(site)).await?;
        if !known.is_empty() {
            return Ok(known);
        }
        let source = self.source(&row.site.kind)?;
        let Some(resource) = source.resources.iter().find(|r| r.event.attribution) else {
            return Ok(Vec::new());
        };
        let base = Url::parse(&row.site.base_url);
        let base = base.map_err(|error| Error::Source(error.to_string()))?;
        let key = self.keys.open(tenant, site, &row.sealed_key)?;
        let asker = self.asker(&source, site, base, &key);
        let window = Window::begin(resource, None, false, self.clock.now()).window;
        let page = asker.page(resource, &window).await?;
        let made = page.records.iter();
        let made = made.filter_map(|record| resource.events_of(site, record, false).ok());
        let users = made.flatten().filter_map(|made| made.subject);
        Ok(users.collect())
    }

    /// Users that the log knows of a site, or of any.
    async fn users(&self, tenant: &str, site: Option<&str>) -> Result<Vec<String>, Error> {
        let filter = Filter {
            stream: site.map(stream_of),
            source: Some(SOURCE.to_owned()),
            ..Filter::default()
        };
        let events = self.events.list(tenant, &filter, None, CROWD).await?;
        let users = events.events.into_iter().filter_map(|event| event.subject);
        let mut users: Vec<_> = users.collect();
        users.sort_unstable();
        users.dedup();
        Ok(users)
    }
}

/// A number below `end`, by chance.
fn draw(end: u64) -> u64 {
    u64::from_le_bytes(clock::random_bytes()) % end.max(1)
}

fn pick<T>(of: &[T]) -> Option<&T> {
    of.get(usize::try_from(draw(of.len() as u64)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    fn shown(given: &str, utm: Option<&str>) -> Result<(String, Option<String>), String> {
        let made = payload(Some(&raw(given)), utm.map(str::to_owned));
        made.map(|(raw, utm)| (raw.get().to_owned(), utm))
            .map_err(|problem| problem.detail)
    }

    #[test]
    fn the_payload_says_where_the_user_came_from() {
        let google = Some("google".to_owned());
        assert_eq!(
            shown(r#"{"n": 1.50}"#, Some("google")).unwrap(),
            (
                r#"{"n":1.50,"utm_source":"google"}"#.to_owned(),
                google.clone()
            )
        );
        assert_eq!(
            shown(r#"{"utm_source": "google"}"#, None).unwrap().1,
            google
        );
        assert_eq!(
            shown(r#"{"utm_source": null}"#, None).unwrap(),
            (r#"{"utm_source":null}"#.to_owned(), None)
        );
        for (given, utm, why) in [
            ("[1]", None, "must be an object"),
            (r#"{"utm_source": 7}"#, None, "/payload/utm_source"),
            (r#"{"utm_source": ""}"#, None, "/payload/utm_source"),
            (r#"{"utm_source": "a"}"#, Some("b"), "/utm_source"),
        ] {
            let error = shown(given, utm).unwrap_err();
            assert!(error.contains(why), "{error}: {why}");
        }
    }
}
