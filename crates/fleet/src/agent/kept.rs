//! What an agent has, and what becomes of it: pure.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tidewire_client::{AgentStatus, AttemptState};
use tidewire_core::Time;

/// What outlives the agent.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub agent_id: Option<String>,
    /// What the controller said when it registered.
    pub poll_url: Option<String>,
    pub poll_interval_seconds: Option<f64>,
    /// What the worker took last.
    pub running: Option<Held>,
    /// What came, and the worker has not answered to.
    pub pending: Option<Held>,
    /// What the worker does not take.
    pub parked: Option<Parked>,
    /// What the controller has still to be told, in this order.
    pub unsaid: Vec<AgentStatus>,
}

/// A config that came.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Held {
    pub version: u64,
    pub etag: String,
    pub config: Box<RawValue>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Parked {
    pub version: u64,
    pub etag: String,
    pub error: String,
    /// Since when the worker runs that does not take it.
    pub by: Option<Time>,
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        (self.version, &self.etag, self.config.get())
            == (other.version, &other.etag, other.config.get())
    }
}

impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        let registered = |kept: &Kept| {
            let Kept {
                agent_id, poll_url, ..
            } = kept;
            (
                agent_id.clone(),
                poll_url.clone(),
                kept.poll_interval_seconds,
            )
        };
        registered(self) == registered(other)
            && (&self.running, &self.pending) == (&other.running, &other.pending)
            && (&self.parked, &self.unsaid) == (&other.parked, &other.unsaid)
    }
}

impl Kept {
    /// The tag of what came last: nothing is asked for again that is here in whatever state.
    pub fn etag(&self) -> Option<&str> {
        let pending = self.pending.as_ref().map(|held| &held.etag);
        let parked = || self.parked.as_ref().map(|parked| &parked.etag);
        let running = || self.running.as_ref().map(|held| &held.etag);
        pending.or_else(parked).or_else(running).map(String::as_str)
    }

    /// What the worker should work by.
    pub fn wanted(&self) -> Option<&Held> {
        self.pending.as_ref().or(self.running.as_ref())
    }

    pub fn is_parked(&self, etag: &str) -> bool {
        self.parked.as_ref().is_some_and(|it| it.etag == etag)
    }

    /// The controller offers this.
    pub fn offered(mut self, held: Held) -> Self {
        if self.is_parked(&held.etag) {
            return self;
        }
        self.parked = None;
        let is_running = self.running.as_ref().is_some_and(|it| it.etag == held.etag);
        self.pending = (!is_running).then_some(held);
        self
    }

    /// The worker took this one.
    pub fn taken(mut self, etag: &str) -> Self {
        let is_running = self.running.as_ref().is_some_and(|it| it.etag == etag);
        if is_running && let Some(parked) = self.parked.take_if(|it| it.etag == etag) {
            self.unsaid = vec![applied(parked.version)];
        }
        if let Some(held) = self.pending.take_if(|held| held.etag == etag) {
            self.unsaid = vec![applied(held.version)];
            self.running = Some(held);
        }
        self
    }

    /// Whether a worker that runs since then has to be given this: it was not refused by it. One that
    /// came later may go by other rules.
    pub fn may_be_given(&self, etag: &str, by: Option<Time>) -> bool {
        !self.is_parked(etag) || self.parked.as_ref().is_some_and(|it| it.by != by)
    }

    /// The worker that runs since then does not take this one. What it worked by before stays.
    pub fn refused(mut self, etag: &str, error: String, by: Option<Time>) -> Self {
        let version = match self.pending.take_if(|held| held.etag == etag) {
            Some(held) => held.version,
            // One that it took before: a worker with other rules has taken its place.
            None => match &self.running {
                Some(held) if held.etag == etag => held.version,
                _ => return self,
            },
        };
        // What runs is not said by what failed.
        self.unsaid.retain(|it| it.state == AttemptState::Applied);
        self.unsaid.push(failed(version, error.clone()));
        self.parked = Some(Parked {
            version,
            etag: etag.to_owned(),
            error,
            by,
        });
        self
    }

    /// The controller may know nothing any more of what it was told.
    pub fn unheard(mut self) -> Self {
        let running = self.running.iter().map(|held| applied(held.version));
        let parked = self.parked.iter();
        let refused = parked.map(|parked| failed(parked.version, parked.error.clone()));
        self.unsaid = running.chain(refused).collect();
        self
    }

    /// The controller was told this.
    pub fn said(mut self, status: &AgentStatus) -> Self {
        self.unsaid.retain(|unsaid| unsaid != status);
        self
    }
}

fn applied(version: u64) -> AgentStatus {
    AgentStatus {
        version,
        state: AttemptState::Applied,
        error: None,
    }
}

fn failed(version: u64, error: String) -> AgentStatus {
    AgentStatus {
        version,
        state: AttemptState::Failed,
        error: Some(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(version: u64) -> Held {
        Held {
            version,
            etag: tag(version),
            config: RawValue::from_string(format!("{{\"n\": {version}}}")).unwrap(),
        }
    }

    fn tag(version: u64) -> String {
        format!("\"{version}\"")
    }

    fn wanted(kept: &Kept) -> Option<u64> {
        kept.wanted().map(|held| held.version)
    }

    fn runs(version: u64) -> Kept {
        let kept = Kept::default().offered(held(version)).taken(&tag(version));
        told(kept)
    }

    /// The controller was told all that there was to say.
    fn told(kept: Kept) -> Kept {
        let unsaid = kept.unsaid.clone();
        unsaid.iter().fold(kept, Kept::said)
    }

    #[test]
    fn what_came_is_wanted_and_what_was_taken_stays() {
        let kept = Kept::default().offered(held(1));
        assert_eq!((wanted(&kept), kept.running.as_ref()), (Some(1), None));
        let kept = kept.taken(&tag(1));
        assert_eq!((wanted(&kept), kept.pending.as_ref()), (Some(1), None));
        assert_eq!(kept.unsaid, [applied(1)]);
        assert_eq!(kept.etag(), Some("\"1\""));
    }

    #[test]
    fn what_is_refused_is_parked_once_and_the_last_good_one_stays() {
        let kept = runs(1)
            .offered(held(2))
            .refused(&tag(2), "no".to_owned(), None);
        assert_eq!(wanted(&kept), Some(1));
        assert_eq!(kept.etag(), Some("\"2\""), "it is not asked for again");
        assert_eq!(kept.unsaid, [failed(2, "no".to_owned())]);
        // Offered again, as by an unconditional answer: nothing to try, nothing to say.
        let kept = told(kept).offered(held(2));
        assert_eq!((wanted(&kept), kept.unsaid.as_slice()), (Some(1), &[][..]));
        // Another one is another chance.
        let kept = kept.offered(held(3));
        assert_eq!((wanted(&kept), kept.parked.as_ref()), (Some(3), None));
    }

    #[test]
    fn what_runs_and_is_offered_again_is_nothing_new() {
        let kept = runs(1).offered(held(2)).offered(held(1));
        assert_eq!((wanted(&kept), kept.pending.as_ref()), (Some(1), None));
        let kept = runs(1)
            .offered(held(2))
            .refused(&tag(2), "no".to_owned(), None);
        let kept = kept.offered(held(1));
        assert_eq!((wanted(&kept), kept.parked.as_ref()), (Some(1), None));
    }

    #[test]
    fn whoever_forgot_it_is_told_again_what_runs_and_what_was_refused() {
        assert_eq!(Kept::default().unheard().unsaid, []);
        let kept = runs(1);
        assert_eq!(kept.unsaid, []);
        let kept = kept.unheard();
        assert_eq!(kept.unsaid, [applied(1)]);
        let kept = kept
            .offered(held(2))
            .refused(&tag(2), "no".to_owned(), None);
        let both = [applied(1), failed(2, "no".to_owned())];
        assert_eq!(kept.unsaid, both, "what was not said yet stays to be said");
        assert_eq!(told(kept).unheard().unsaid, both);
    }

    #[test]
    fn an_answer_about_what_is_not_wanted_any_more_changes_nothing() {
        let kept = runs(1).offered(held(2)).offered(held(3));
        assert_eq!(kept.clone().taken(&tag(2)), kept);
        assert_eq!(kept.clone().refused(&tag(2), "no".to_owned(), None), kept);
        let applied = runs(1).offered(held(2)).taken(&tag(2));
        let old = runs(1).offered(held(1)).taken(&tag(1)).unsaid;
        assert_eq!(old, []);
        let unsaid = applied.said(&super::applied(1)).unsaid;
        assert_eq!(unsaid, [super::applied(2)], "it was another word");
    }

    #[test]
    fn a_worker_that_does_not_take_what_runs_is_not_asked_again_but_another_one_is() {
        let (first, second) = (Some(Time::EPOCH), Some(Time::from_millis(1)));
        let kept = runs(1).refused(&tag(1), "another policy".to_owned(), first);
        assert_eq!(wanted(&kept), Some(1));
        let kept = kept.offered(held(1));
        assert!(
            !kept.may_be_given(&tag(1), first),
            "the same again is no other chance"
        );
        assert!(kept.may_be_given(&tag(1), second));
        let kept = told(kept).taken(&tag(1));
        assert_eq!((wanted(&kept), kept.parked.as_ref()), (Some(1), None));
        assert_eq!(kept.unsaid, [applied(1)]);
    }
}
