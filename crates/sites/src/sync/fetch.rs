//! Asking a source: one page, as often as it takes.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::value::RawValue;
use tidewire_core::{Clock, Time, clock};
use tidewire_outbound::{Answer, Client, Error as Outbound, Method, Request};
use url::Url;

use super::{
    Hosts, SourceFault,
    fault::Why,
    window::{Turned, Window},
};
use crate::{
    AccessKey, SiteSettings, metrics,
    source::{Position, Resource, Showing, Source, Template, Values, page::Facts},
};

/// Bytes of a page.
const MOST_BYTES: usize = 16 << 20;
/// What is waited for in the middle of a sync; for longer, the sync comes again later.
const PATIENCE: Duration = Duration::from_secs(20);

/// Asks one site's source.
pub(crate) struct Asker<'a> {
    pub source: &'a Source,
    pub site: &'a str,
    pub base: Url,
    pub key: &'a AccessKey,
    pub client: &'a Client,
    pub hosts: &'a Hosts,
    pub clock: &'a Clock,
    pub settings: SiteSettings,
    /// When the next request may be sent.
    pub paced: Mutex<Option<Instant>>,
}

/// A page that was read.
#[derive(Debug)]
pub(crate) struct Page {
    pub records: Vec<Box<RawValue>>,
    pub turned: Turned,
}

impl Page {
    /// Of its records.
    pub fn bytes(&self) -> usize {
        self.records.iter().map(|record| record.get().len()).sum()
    }
}

impl Asker<'_> {
    /// Whether the key is good, as far as the source has a way to ask.
    pub async fn check_key(&self) -> Result<(), SourceFault> {
        let Some(profile) = &self.source.profile else {
            return Ok(());
        };
        let asked = async {
            let url = self.url(&profile.path, &profile.query, &[])?;
            self.answered(&url, |_| Ok(())).await
        };
        asked
            .await
            .map_err(|why| SourceFault::new("the profile", why))
    }

    /// The page at which a window stands.
    pub async fn page(&self, resource: &Resource, window: &Window) -> Result<Page, SourceFault> {
        let asked = async {
            let url = self.page_url(resource, window)?;
            self.answered(&url, |answer| self.read(resource, window, answer))
                .await
        };
        asked.await.map_err(|why| {
            let what = format!("{} of {}", window.position, resource.name);
            SourceFault::new(&what, why)
        })
    }

    fn page_url(&self, resource: &Resource, window: &Window) -> Result<Url, Why> {
        if let Position::Url(next) = &window.position {
            let here = self.url(&resource.path, &resource.query, &[])?;
            let next = here.join(next);
            let next =
                next.map_err(|_| Why::Passing("it names a next page that is no URL".to_owned()))?;
            // The key goes along, and is for nobody else.
            if next.origin() != self.base.origin() {
                return Err(Why::Lasting(format!(
                    "it names a next page at {}, which is not where the site is",
                    next.origin().ascii_serialization()
                )));
            }
            return Ok(next);
        }
        let mut also = resource.pagination.parameters(&window.position);
        if let Some(how) = &resource.incremental {
            let asked = [(&how.parameter, window.from), (&how.until, window.until)];
            for (parameter, cursor) in asked {
                if let (Some(parameter), Some(cursor)) = (parameter, cursor) {
                    also.push((parameter.clone(), how.format.write(cursor)));
                }
            }
        }
        self.url(&resource.path, &resource.query, &also)
    }

    fn url(
        &self,
        path: &Template,
        query: &[(String, Template)],
        also: &[(String, String)],
    ) -> Result<Url, Why> {
        let values = self.values();
        let path = path.filled_in_path(&values).map_err(Why::Lasting)?;
        let base = self.base.as_str().trim_end_matches('/');
        let url = Url::parse(&format!("{base}{path}"));
        let mut url =
            url.map_err(|error| Why::Lasting(format!("its URL cannot be made: {error}")))?;
        for (name, value) in query {
            let value = value.filled(&values).map_err(Why::Lasting)?;
            url.query_pairs_mut().append_pair(name, &value);
        }
        for (name, value) in also {
            url.query_pairs_mut().append_pair(name, value);
        }
        Ok(url)
    }

    fn values(&self) -> Values<'_> {
        Values {
            site: self.site,
            key: self.key.text(),
            ..Values::default()
        }
    }

    fn request(&self, url: &Url) -> Result<Request, Why> {
        let made = || {
            let mut request = Request::new(Method::GET, url.as_str())?;
            request = request.header("accept", "application/json")?;
            for (name, value) in &self.source.headers {
                request = request.header(name, value)?;
            }
            Ok(request)
        };
        let request = made().map_err(|error: Outbound| Why::Lasting(error.to_string()))?;
        let values = self.values();
        let shown = match &self.source.auth.how {
            Showing::As(value) => value.filled(&values),
            Showing::Basic(user, password) => user.filled(&values).and_then(|user| {
                let password = password.filled(&values)?;
                let encoded = STANDARD.encode(format!("{user}:{password}"));
                Ok(format!("Basic {encoded}"))
            }),
        };
        let shown = shown.map_err(Why::Lasting)?;
        let request = request.header(&self.source.auth.header, &shown);
        let request = request.map_err(|error| Why::Lasting(error.to_string()))?;
        Ok(request
            .timeout(self.source.timeout)
            .answer_cap(MOST_BYTES)
            .gunzip())
    }

    /// Asks until there is an answer that can be read, or it is no use asking.
    async fn answered<T>(
        &self,
        url: &Url,
        read: impl Fn(&Answer) -> Result<T, Why>,
    ) -> Result<T, Why> {
        let mut tries = 1;
        let mut fresh = false;
        loop {
            let why = match self.ask_once(url, fresh).await {
                Ok(answer) => match read(&answer) {
                    Ok(read) => return Ok(read),
                    Err(why) => why,
                },
                Err(why) => why,
            };
            let backoff = self.settings.backoff;
            let wait = match &why {
                Why::Passing(_) => backoff.delay(tries, clock::random_fraction()),
                Why::TooMany(_, asked) => {
                    let own = backoff.delay(tries, clock::random_fraction());
                    asked.map_or(own, |asked| asked.max(own))
                }
                _ => return Err(why),
            };
            // Being asked to wait is no failure, but for ever is.
            let is_asked = matches!(why, Why::TooMany(..));
            if wait > PATIENCE || tries >= self.settings.tries && !is_asked {
                return Err(why.after(wait));
            }
            tracing::debug!(site = self.site, %why, tries, ?wait, "a page is asked for again");
            metrics::asked_again();
            tokio::time::sleep(wait).await;
            tries += 1;
            fresh = true;
        }
    }

    async fn ask_once(&self, url: &Url, fresh: bool) -> Result<Answer, Why> {
        let mut request = self.request(url)?;
        if fresh {
            request = request.fresh();
        }
        self.keep_pace().await;
        let host = url.host_str().unwrap_or_default();
        let host = format!("{host}:{}", url.port_or_known_default().unwrap_or_default());
        let seat = self.hosts.seat(&host).await;
        let in_flight = metrics::InFlight::begin();
        let answered = self.client.send(request).await;
        drop((seat, in_flight));
        metrics::answered(&answered);
        match answered {
            Ok(answer) => self.judge(answer),
            Err(error) => Err(match error {
                Outbound::Refused { .. } => Why::Forbidden(error.to_string()),
                Outbound::BadUrl(_) | Outbound::BadHeader { .. } | Outbound::BadMethod(_) => {
                    Why::Lasting(error.to_string())
                }
                error => Why::Passing(error.to_string()),
            }),
        }
    }

    /// Waits until the source's limit lets the next request pass.
    async fn keep_pace(&self) {
        let Some(rate) = self.source.requests_per_second else {
            return;
        };
        let gap = Duration::from_secs_f64(1.0 / rate);
        let at = {
            let mut paced = self.paced.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let at = paced.map_or(now, |at| at.max(now));
            *paced = Some(at + gap);
            at
        };
        tokio::time::sleep_until(at.into()).await;
    }

    fn judge(&self, answer: Answer) -> Result<Answer, Why> {
        let status = answer.status.as_u16();
        let said = format!("it answered {status}");
        let now = self.clock.now();
        let wait = answer.retry_after(now).or_else(|| used_up(&answer, now));
        match status {
            200..=299 if answer.truncated => {
                let most = MOST_BYTES >> 20;
                Err(Why::Lasting(format!("the page has more than {most} MiB")))
            }
            200..=299 => Ok(answer),
            429 => Err(Why::TooMany(said, wait)),
            403 | 503 if wait.is_some() => Err(Why::TooMany(said, wait)),
            _ if self.source.auth.refused.contains(&status) => Err(Why::Refused(said)),
            408 | 425 | 500.. => Err(Why::Passing(said)),
            300..=399 => Err(Why::Lasting(format!(
                "{said}, and redirects are not followed"
            ))),
            400 | 404 | 410 | 422 => Err(Why::Misplaced(said)),
            _ => Err(Why::Lasting(said)),
        }
    }

    fn read(&self, resource: &Resource, window: &Window, answer: &Answer) -> Result<Page, Why> {
        let body: &RawValue = serde_json::from_slice(&answer.body)
            .map_err(|error| Why::Passing(format!("its answer is no JSON: {error}")))?;
        let listed = resource.records.find(body);
        let listed = listed.map(|raw| serde_json::from_str::<Vec<&RawValue>>(raw.get()));
        let records = match listed {
            Some(Ok(records)) => records,
            _ => {
                let at = match resource.records.to_string() {
                    at if at.is_empty() => "the answer".to_owned(),
                    at => format!("`{at}` in the answer"),
                };
                return Err(Why::Passing(format!("{at} is no list of records")));
            }
        };
        // What cannot be read is left out further on, and says so there.
        let cursors = records.iter().map(|record| resource.cursor_of(record));
        let cursors: Vec<_> = cursors.map(|cursor| cursor.ok().flatten()).collect();
        let last_id = records
            .last()
            .and_then(|record| resource.id_of(record).ok());
        let links = answer.headers.get_all("link").iter();
        let links: Vec<_> = links.filter_map(|link| link.to_str().ok()).collect();
        let facts = Facts {
            body,
            links: &links,
            records: records.len() as u64,
            last_id: last_id.as_deref(),
        };
        let next = resource.pagination.next(&window.position, &facts);
        let turned = Turned {
            next: next.map_err(Why::Passing)?,
            total: resource.pagination.total(body),
            records: records.len() as u64,
            newest: cursors.iter().copied().max().flatten(),
            last: cursors.last().copied().flatten(),
        };
        let records = records.into_iter().map(ToOwned::to_owned).collect();
        Ok(Page { records, turned })
    }
}

/// How long a limit that is used up lasts, as GitHub and many others say it.
fn used_up(answer: &Answer, now: Time) -> Option<Duration> {
    let header = |name: &str| answer.headers.get(name)?.to_str().ok();
    if header("x-ratelimit-remaining")? != "0" {
        return None;
    }
    let reset: i64 = header("x-ratelimit-reset")?.parse().ok()?;
    let wait = Time::from_millis(reset.saturating_mul(1000)).since(now);
    Some(wait.max(Duration::from_secs(1)))
}
