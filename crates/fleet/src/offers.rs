//! Who is offered which version. Pure: every controller says the same of an agent, whatever it
//! remembers besides.
//!
//! An agent is offered the newest version whose labels it has and whose share it is in. Its place in
//! the share hangs on its id alone, so that raising a share takes nobody out of it, and the same few
//! are the first each time. A version without labels is for everyone but servers of Tidewire
//! themselves, which have the label [`SERVERS`] and take only versions that name it.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use tidewire_core::{Problem, Time};

use crate::{Labels, store::HeadRow};

/// The label of servers of Tidewire, whose own settings are a config too: [`crate::ServerSettings`].
pub const SERVERS: &str = "tidewire";

/// A version, ready to be sent: the answer and its tag are made once.
#[derive(Debug)]
pub struct Offer {
    pub version: u64,
    pub etag: HeaderValue,
    /// The whole answer.
    pub body: Bytes,
    pub config: Box<RawValue>,
    labels: Labels,
    percent: u32,
}

/// What is offered of one tenant's versions, as of a revision.
#[derive(Debug, Default)]
pub(crate) struct Offers {
    pub revision: u64,
    /// The newest version, offered or not.
    pub newest: u64,
    /// Newest first.
    list: Vec<Arc<Offer>>,
}

/// As whom somebody asks.
#[derive(Clone, Copy)]
pub(crate) struct Asker<'a> {
    pub agent_id: &'a str,
    pub labels: &'a Labels,
}

impl Offers {
    pub fn new(revision: u64, newest: u64, list: Vec<Arc<Offer>>) -> Self {
        Offers {
            revision,
            newest,
            list,
        }
    }

    /// Somebody who does not say who it is gets what is for everyone.
    pub fn for_whom(&self, asker: Option<Asker<'_>>) -> Option<&Arc<Offer>> {
        self.list
            .iter()
            .find(|offer| is_for(&offer.labels, offer.percent, asker))
    }
}

fn is_for(labels: &Labels, percent: u32, asker: Option<Asker<'_>>) -> bool {
    let Some(Asker {
        agent_id,
        labels: has,
    }) = asker
    else {
        return labels.is_empty() && percent == 100;
    };
    let is_meant = !has.contains_key(SERVERS) || labels.contains_key(SERVERS);
    is_meant
        && labels
            .iter()
            .all(|(key, value)| has.get(key) == Some(value))
        && (percent == 100 || place_of(agent_id) < percent * 100)
}

/// An agent's place among ten thousand.
fn place_of(agent_id: &str) -> u32 {
    let hash = Sha256::digest(agent_id.as_bytes());
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]) % 10_000
}

/// Those of all versions, newest first, that can be offered to anybody: older ones for the same
/// labels are out of play once a version has everyone.
pub(crate) fn in_play(heads: impl IntoIterator<Item = HeadRow>) -> Vec<HeadRow> {
    let mut settled: Vec<Labels> = Vec::new();
    let mut found = Vec::new();
    for head in heads {
        let is_covered = settled.iter().any(|labels| covers(labels, &head.labels));
        if is_covered {
            continue;
        }
        if head.percent == 100 {
            settled.push(head.labels.clone());
        }
        found.push(head);
    }
    found
}

/// Whether whoever has `these` labels also has `those`.
fn covers(those: &Labels, these: &Labels) -> bool {
    let is_meant = !these.contains_key(SERVERS) || those.contains_key(SERVERS);
    is_meant
        && those
            .iter()
            .all(|(key, value)| these.get(key) == Some(value))
}

/// A strong tag: another version is another tag, also with the same config.
pub(crate) fn etag(version: u64, config: &RawValue) -> String {
    let hash = Sha256::digest(config.get().as_bytes());
    format!("\"{version}-{}\"", hex::encode(&hash[..8]))
}

/// The answer to an agent.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct ConfigAnswer<'a> {
    version: u64,
    #[schema(value_type = Object)]
    config: &'a RawValue,
    #[schema(required)]
    note: Option<&'a str>,
    created_at: Time,
}

impl Offer {
    pub(crate) fn new(
        head: &HeadRow,
        config: Box<RawValue>,
        note: Option<&str>,
        created_at: Time,
    ) -> Result<Self, Problem> {
        let broken = |why: &dyn std::fmt::Display| {
            let text = format!("the version {} cannot be offered: {why}", head.version);
            Problem::new(tidewire_core::Kind::Internal, text)
        };
        let answer = ConfigAnswer {
            version: head.version,
            config: &config,
            note,
            created_at,
        };
        Ok(Offer {
            version: head.version,
            etag: HeaderValue::from_str(&head.etag).map_err(|error| broken(&error))?,
            body: serde_json::to_vec(&answer)
                .map_err(|error| broken(&error))?
                .into(),
            config,
            labels: head.labels.clone(),
            percent: head.percent,
        })
    }

    /// The tag as text.
    #[must_use]
    pub fn tag(&self) -> &str {
        self.etag.to_str().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(text: &str) -> Labels {
        text.split(',')
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    fn offers(versions: &[(&str, u32)]) -> Offers {
        let heads = versions
            .iter()
            .zip(1..)
            .map(|((of, percent), version)| HeadRow {
                version,
                etag: format!("\"{version}\""),
                labels: labels(of),
                percent: *percent,
            });
        let heads: Vec<_> = heads.collect();
        let config = || RawValue::from_string("{}".to_owned()).unwrap();
        let list = in_play(heads.into_iter().rev()).into_iter();
        let list =
            list.map(|head| Arc::new(Offer::new(&head, config(), None, Time::EPOCH).unwrap()));
        Offers::new(1, versions.len() as u64, list.collect())
    }

    fn offered(offers: &Offers, agent: &str, of: &str) -> Option<u64> {
        let labels = labels(of);
        let asker = Asker {
            agent_id: agent,
            labels: &labels,
        };
        offers.for_whom(Some(asker)).map(|offer| offer.version)
    }

    #[test]
    fn the_newest_version_that_is_meant_for_an_agent_is_offered() {
        let offers = offers(&[
            ("", 100),
            ("region=eu", 100),
            ("region=eu,tier=1", 100),
            ("", 0),
        ]);
        assert_eq!(offered(&offers, "a", ""), Some(1));
        assert_eq!(offered(&offers, "a", "region=us"), Some(1));
        assert_eq!(offered(&offers, "a", "region=eu,host=x"), Some(2));
        assert_eq!(offered(&offers, "a", "tier=1,region=eu"), Some(3));
        assert_eq!(offers.for_whom(None).unwrap().version, 1);
    }

    #[test]
    fn a_version_for_everyone_ends_all_before_it() {
        let offers = offers(&[("", 100), ("region=eu", 100), ("", 20), ("", 100)]);
        assert_eq!(offered(&offers, "a", "region=eu"), Some(4));
        assert_eq!(offers.list.len(), 1, "nobody can be left on an old canary");
    }

    #[test]
    fn servers_take_only_what_names_them() {
        let offers = offers(&[("tidewire=server", 100), ("", 100)]);
        assert_eq!(offered(&offers, "web-1", "tidewire=server"), Some(1));
        assert_eq!(offered(&offers, "a", "region=eu"), Some(2));
        assert_eq!(
            offered(&super::tests::offers(&[("", 100)]), "s", "tidewire=server"),
            None
        );
    }

    #[test]
    fn a_share_is_about_as_large_as_it_says() {
        let offers = offers(&[("", 100), ("", 10)]);
        let ids = (0..10_000).map(|n| format!("agent-{n}"));
        let new = ids.filter(|id| offered(&offers, id, "") == Some(2)).count();
        assert!((850..1150).contains(&new), "{new}");
    }

    #[test]
    fn the_same_config_again_has_another_tag() {
        let config = RawValue::from_string("{\"url\": 1}".to_owned()).unwrap();
        assert_ne!(etag(1, &config), etag(2, &config));
        assert_eq!(etag(1, &config), etag(1, &config));
    }

    proptest! {
        #[test]
        fn raising_a_share_takes_nobody_out(id in "[a-z0-9]{1,20}", low in 0u32..=100, more in 0u32..=100) {
            let high = (low + more).min(100);
            let with = |percent| offered(&offers(&[("", 100), ("", percent)]), &id, "");
            prop_assert!(with(low) == Some(1) || with(high) == Some(2));
        }

        #[test]
        fn what_is_out_of_play_is_offered_to_nobody(
            versions in proptest::collection::vec((0usize..5, prop_oneof![Just(100u32), 0u32..=100]), 1..12),
            has in 0usize..5,
            id in "[a-z]{1,8}",
        ) {
            const SETS: [&str; 5] = ["", "a=1", "a=1,b=2", "tidewire=server", "tidewire=server,a=1"];
            let versions: Vec<_> = versions.into_iter().map(|(set, percent)| (SETS[set], percent)).collect();
            let labels = labels(SETS[has]);
            let asker = Some(Asker { agent_id: &id, labels: &labels });
            let plain = versions.iter().enumerate().rev()
                .find(|(_, (of, percent))| is_for(&super::tests::labels(of), *percent, asker))
                .map(|(place, _)| place as u64 + 1);
            prop_assert_eq!(offered(&offers(&versions), &id, SETS[has]), plain);
        }
    }
}
