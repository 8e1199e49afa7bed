//! Times as people read them: in UTC, with how far away they are beside it.

use std::time::Duration;

use maud::{Markup, html};
use tidewire_core::Time;

/// A time, and how far from `now` it is.
pub(crate) fn at(time: Time, now: Time) -> Markup {
    html! {
        time datetime=(rfc3339(time)) title=(rfc3339(time)) {
            (plain(time)) " " span.rel { (relative(time, now)) }
        }
    }
}

/// The same where there may be none.
pub(crate) fn maybe(time: Option<Time>, now: Time) -> Markup {
    match time {
        Some(time) => at(time, now),
        None => html! { span.none { "–" } },
    }
}

/// Only how far away it is, for narrow places; the rest is its title.
pub(crate) fn ago(time: Time, now: Time) -> Markup {
    html! { time datetime=(rfc3339(time)) title=(rfc3339(time)) { (relative(time, now)) } }
}

pub(crate) fn rfc3339(time: Time) -> String {
    time.utc().format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

pub(crate) fn plain(time: Time) -> String {
    time.utc().format("%Y-%m-%d %H:%M:%S").to_string()
}

/// `3 min ago`, `in 2 h`.
pub(crate) fn relative(time: Time, now: Time) -> String {
    if time > now {
        match rough(time.since(now)) {
            Some(text) => format!("in {text}"),
            None => "in a moment".to_owned(),
        }
    } else {
        match rough(now.since(time)) {
            Some(text) => format!("{text} ago"),
            None => "just now".to_owned(),
        }
    }
}

fn rough(span: Duration) -> Option<String> {
    let seconds = span.as_secs();
    Some(match seconds {
        0 => return None,
        1..=59 => format!("{seconds} s"),
        60..=3599 => format!("{} min", seconds / 60),
        3600..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    })
}

/// How long something took.
pub(crate) fn span(span: Duration) -> String {
    let millis = span.as_millis();
    match millis {
        0..=999 => format!("{millis} ms"),
        1_000..=59_999 => format!("{:.1} s", span.as_secs_f64()),
        60_000..=3_599_999 => format!("{} min {} s", millis / 60_000, millis / 1000 % 60),
        _ => format!("{} h {} min", millis / 3_600_000, millis / 60_000 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_and_near_have_words() {
        let now = Time::from_millis(1_000_000_000);
        for (seconds, text) in [
            (0, "just now"),
            (59, "59 s ago"),
            (61, "1 min ago"),
            (7_300, "2 h ago"),
            (200_000, "2 days ago"),
        ] {
            assert_eq!(relative(now.minus(Duration::from_secs(seconds)), now), text);
        }
        assert_eq!(relative(now.plus(Duration::from_secs(90)), now), "in 1 min");
        assert_eq!(span(Duration::from_millis(12)), "12 ms");
        assert_eq!(span(Duration::from_millis(1_250)), "1.2 s");
        assert_eq!(span(Duration::from_secs(3_725)), "1 h 2 min");
    }
}
