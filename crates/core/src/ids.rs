//! Ids are ULIDs: 26 characters of Crockford's base 32, sortable by the time they were made
//! (<https://github.com/ulid/spec>).
//!
//! An event's id also carries the event's position in its tenant's log: the 80 bits behind the
//! time are 32 bits of the tenant's hash and 48 bits of `pos`. A lookup by id is thus one read of
//! the primary key and no index is kept for it, which is worth a third of the append rate.

use sha2::{Digest, Sha256};
use std::sync::Mutex;
use ulid::Ulid;

use crate::{Clock, Time, clock};

/// Characters of an id.
pub const LENGTH: usize = 26;
/// The longest position that an id can carry: 2^48 - 1, 281 trillion events in one tenant.
pub const MAX_POS: u64 = (1 << 48) - 1;

/// A new id, greater than every id that this process made before.
#[must_use]
pub fn new_id(clock: &Clock) -> String {
    static LAST: Mutex<u128> = Mutex::new(0);
    let random = u128::from_le_bytes(clock::random_bytes()) >> 48;
    let fresh = Ulid::from_parts(millis(clock.now()), random).0;
    let mut last = LAST
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    // Within one millisecond (or after the clock went back) the next id comes behind the last one,
    // and so far behind that who knows the one cannot guess the other: a webhook's id is a secret.
    *last = if fresh > *last {
        fresh
    } else {
        *last + 1 + (random >> 16)
    };
    Ulid(*last).to_string()
}

/// The least id of this time: what was made from then on has a greater one.
#[must_use]
pub fn first_of(at: Time) -> String {
    Ulid::from_parts(millis(at), 0).to_string()
}

/// The id of the event at `pos` of a tenant's log.
#[must_use]
pub fn event_id(created_at: Time, tenant_salt: u32, pos: u64) -> String {
    debug_assert!(pos <= MAX_POS);
    let low = (u128::from(tenant_salt) << 48) | u128::from(pos & MAX_POS);
    Ulid::from_parts(millis(created_at), low).to_string()
}

/// The position that an event's id carries. `None` if the text is no id; an id that was not made
/// by [`event_id`] gives a position whose event has another id, so callers compare.
#[must_use]
pub fn event_pos(id: &str) -> Option<u64> {
    let id = parse(id)?;
    u64::try_from(id.random() & u128::from(MAX_POS)).ok()
}

/// What tells ids of different tenants apart at the same time and position.
#[must_use]
pub fn tenant_salt(tenant: &str) -> u32 {
    let hash = Sha256::digest(tenant.as_bytes());
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}

/// Whether the text is an id as this service writes them.
#[must_use]
pub fn is_id(text: &str) -> bool {
    parse(text).is_some()
}

/// A secret of 256 bits, in the alphabet of URLs.
#[must_use]
pub fn new_secret(prefix: &str) -> String {
    use base64::Engine as _;
    let bytes = clock::random_bytes::<32>();
    format!(
        "{prefix}{}",
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
    )
}

fn parse(text: &str) -> Option<Ulid> {
    let id = Ulid::from_string(text).ok()?;
    // Crockford's alphabet also reads lower case and look-alikes; ids are compared as text, so
    // only the canonical form is one.
    (id.to_string() == text).then_some(id)
}

fn millis(at: Time) -> u64 {
    u64::try_from(at.millis()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_even_when_the_clock_stands_still() {
        let clock = Clock::fake(Time::from_millis(1_000));
        let ids: Vec<_> = (0..1000).map(|_| new_id(&clock)).collect();
        assert!(ids.is_sorted_by(|a, b| a < b));
        assert!(ids.iter().all(|id| id.len() == 26));
        // Of 1,000 steps of 64 random bits none is a short one.
        let number = |id: &String| Ulid::from_string(id).unwrap().0;
        let steps = ids.windows(2).map(|two| number(&two[1]) - number(&two[0]));
        assert!(steps.min().unwrap() > 1 << 32);
    }

    #[test]
    fn an_event_id_carries_its_position_and_sorts_by_it() {
        let at = Time::from_millis(1_700_000_000_000);
        let salt = tenant_salt("default");
        for pos in [1, 2, 255, 1 << 32, MAX_POS] {
            assert_eq!(event_pos(&event_id(at, salt, pos)), Some(pos));
        }
        assert!(event_id(at, salt, 9) < event_id(at, salt, 10));
    }

    #[test]
    fn ids_come_behind_the_first_of_their_time() {
        let clock = Clock::fake(Time::from_millis(5_000));
        assert!(new_id(&clock) >= first_of(clock.now()));
        assert!(first_of(Time::from_millis(5_001)) > first_of(clock.now()));
        assert!(is_id(&first_of(Time::from_millis(-1))));
    }

    #[test]
    fn only_the_canonical_text_is_an_id() {
        let id = event_id(Time::from_millis(1), 7, 42);
        assert!(is_id(&id));
        assert!(!is_id(&id.to_lowercase()));
        assert_eq!(event_pos("not an id"), None);
    }
}
