//! Sites: other people's systems that are synced into the log.

use crate::{
    Attribution, Client, Job, NewSite, NewSiteEvent, Page, Pages, Result, Site, SiteEvent,
    model::{self, SiteEventsPage, SitesPage},
    retry::Repeat,
    transport::Call,
};

/// Which events a list of site events shows; a field that is `None` does not narrow it.
#[derive(Clone, Debug, Default)]
pub struct SiteEventQuery {
    pub user_id: Option<String>,
    pub event_type: Option<String>,
    /// Events a page, at most 500.
    pub limit: Option<u32>,
    pub cursor: Option<String>,
}

pub struct Sites<'c>(pub(crate) &'c Client);

impl<'c> Sites<'c> {
    /// Registers a site after its source has accepted the key, or replaces what is known of it.
    pub async fn register(&self, site: &NewSite) -> Result<Site> {
        let call = Call::post(self.0.url(&["v1", "sites"])?, site)?;
        self.0.send(call, Repeat::Always).await
    }

    /// One page, newest first.
    pub async fn list(&self, limit: Option<u32>, cursor: Option<&str>) -> Result<Page<Site>> {
        let mut url = self.0.url(&["v1", "sites"])?;
        model::paged(&mut url, limit, cursor);
        let page: SitesPage = self.0.send(Call::get(url), Repeat::Always).await?;
        Ok(Page {
            items: page.sites,
            next_cursor: page.next_cursor,
        })
    }

    /// All sites, page by page.
    #[must_use]
    pub fn pages(&self, limit: Option<u32>, from: Option<String>) -> Pages<'c, Site> {
        let client = self.0;
        Pages::new(from, move |cursor| async move {
            client.sites().list(limit, cursor.as_deref()).await
        })
    }

    /// A site, and how far its lists are.
    pub async fn get(&self, id: &str) -> Result<Site> {
        let url = self.0.url(&["v1", "sites", id])?;
        self.0.send(Call::get(url), Repeat::Always).await
    }

    /// Removes a site; its events stay.
    pub async fn remove(&self, id: &str) -> Result<()> {
        let url = self.0.url(&["v1", "sites", id])?;
        self.0
            .send_for_nothing(Call::delete(url), Repeat::WhileRefused)
            .await
    }

    /// Begins a sync of one of a site's lists in the background; its job.
    pub async fn sync(&self, id: &str, resource: &str) -> Result<Job> {
        let mut url = self.0.url(&["v1", "sites", id, "sync", resource])?;
        model::asked(&mut url, &[("background", Some("true"))]);
        self.0
            .send(Call::bare_post(url), Repeat::WhileRefused)
            .await
    }

    /// Records an event of a user; returns after it is durable. Repeated on a lost answer only if it
    /// has a `dedupe_key`.
    pub async fn record(&self, event: &NewSiteEvent) -> Result<SiteEvent> {
        let call = Call::post(self.0.url(&["v1", "site-events"])?, event)?;
        self.0
            .send(call, Repeat::keyed(event.dedupe_key.is_some()))
            .await
    }

    /// One page of what is known of sites and their users, newest first.
    pub async fn events(&self, query: &SiteEventQuery) -> Result<Page<SiteEvent>> {
        let mut url = self.0.url(&["v1", "site-events"])?;
        model::asked(
            &mut url,
            &[
                ("user_id", query.user_id.as_deref()),
                ("type", query.event_type.as_deref()),
            ],
        );
        model::paged(&mut url, query.limit, query.cursor.as_deref());
        let page: SiteEventsPage = self.0.send(Call::get(url), Repeat::Always).await?;
        Ok(Page {
            items: page.events,
            next_cursor: page.next_cursor,
        })
    }

    /// Where a user came from, first and last.
    pub async fn attribution(&self, subject: &str) -> Result<Attribution> {
        let url = self.0.url(&["v1", "subjects", subject, "attribution"])?;
        self.0.send(Call::get(url), Repeat::Always).await
    }
}
