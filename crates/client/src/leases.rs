//! Leases of agents' instances on threads, for whoever starts and stops instances.

use std::time::Duration;

use serde::Serialize;

use crate::{
    Client, Page, Result,
    model::{
        self, Demand, Lease, LeaseAnswer, LeaseAnswers, LeaseEnd, LeaseEnded, LeaseList,
        LeasesEnded, NewLease,
    },
    retry::Repeat,
    transport::Call,
};

pub struct Leases<'c>(pub(crate) &'c Client);

#[derive(Serialize)]
struct Asked<'a, T> {
    leases: &'a [T],
}

impl Leases<'_> {
    /// The threads of all tenants that have open turns. With the `revision` of an answer before, the
    /// server holds this one, for so many seconds at most, until there is another.
    pub async fn demand(&self, revision: Option<&str>, wait_seconds: u64) -> Result<Demand> {
        let mut url = self.0.url(&["v1", "agents", "demand"])?;
        let wait = (wait_seconds > 0).then(|| wait_seconds.to_string());
        model::asked(
            &mut url,
            &[("revision", revision), ("wait_seconds", wait.as_deref())],
        );
        let mut call = Call::get(url);
        call.held = Duration::from_secs(wait_seconds);
        self.0.send(call, Repeat::Always).await
    }

    /// Makes leases, or goes on with them; each is held or refused by itself. Not repeated on a lost
    /// answer, which may have held an instance's key.
    pub async fn hold(&self, leases: &[NewLease]) -> Result<Vec<LeaseAnswer>> {
        let call = Call::post(self.0.url(&["v1", "agents", "leases"])?, &Asked { leases })?;
        let answers: LeaseAnswers = self.0.send(call, Repeat::WhileRefused).await?;
        Ok(answers.leases)
    }

    /// Ends leases, each by itself.
    pub async fn release(&self, leases: &[LeaseEnd]) -> Result<Vec<LeaseEnded>> {
        let url = self.0.url(&["v1", "agents", "leases", "release"])?;
        let call = Call::post(url, &Asked { leases })?;
        let answers: LeasesEnded = self.0.send(call, Repeat::Always).await?;
        Ok(answers.leases)
    }

    /// One page of all tenants' leases, also of those that have expired and not ended.
    pub async fn list(&self, limit: Option<u32>, cursor: Option<&str>) -> Result<Page<Lease>> {
        let mut url = self.0.url(&["v1", "agents", "leases"])?;
        model::paged(&mut url, limit, cursor);
        let page: LeaseList = self.0.send(Call::get(url), Repeat::Always).await?;
        Ok(Page {
            items: page.leases,
            next_cursor: page.next_cursor,
        })
    }
}
