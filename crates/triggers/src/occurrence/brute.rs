//! The judge of the search: a clock on the wall that is watched second by second, or minute by minute, around clock
//! changes. It knows no calendar arithmetic, only what the clock shows now and what it has shown before.
//!
//! `TIDEWIRE_TEST_FULL=1` watches every change of every IANA zone in five years, with every pattern.

use std::{collections::HashSet, fmt};

use chrono::{DateTime, Datelike, NaiveDateTime, TimeDelta, TimeZone as _, Timelike, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};
use proptest::prelude::*;
use tidewire_core::Time;

use super::{Cron, Zone};

/// A field of a pattern as the judge understands it.
#[derive(Clone, Debug, PartialEq)]
enum Field {
    Any,
    Step(u32),
    Range(u32, u32),
    RangeStep(u32, u32, u32),
    List(Vec<u32>),
}

impl Field {
    fn names(&self, value: u32, low: u32) -> bool {
        match self {
            Field::Any => true,
            Field::Step(step) => (value - low).is_multiple_of(*step),
            Field::Range(from, to) => (*from..=*to).contains(&value),
            Field::RangeStep(from, to, step) => {
                (*from..=*to).contains(&value) && (value - from).is_multiple_of(*step)
            }
            Field::List(list) => list.contains(&value),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Field::Any => f.write_str("*"),
            Field::Step(step) => write!(f, "*/{step}"),
            Field::Range(from, to) => write!(f, "{from}-{to}"),
            Field::RangeStep(from, to, step) => write!(f, "{from}-{to}/{step}"),
            Field::List(list) => {
                let list: Vec<_> = list.iter().map(u32::to_string).collect();
                f.write_str(&list.join(","))
            }
        }
    }
}

#[derive(Clone, Debug)]
struct Pattern {
    second: Field,
    minute: Field,
    hour: Field,
    day: Field,
    month: Field,
    weekday: Field,
}

impl Pattern {
    fn names(&self, shown: NaiveDateTime) -> bool {
        let day = self.day.names(shown.day(), 1);
        let weekday = self
            .weekday
            .names(shown.weekday().num_days_from_sunday(), 0);
        let date = match (&self.day, &self.weekday) {
            (Field::Any, _) | (_, Field::Any) => day && weekday,
            _ => day || weekday,
        };
        date && self.second.names(shown.second(), 0)
            && self.minute.names(shown.minute(), 0)
            && self.hour.names(shown.hour(), 0)
            && self.month.names(shown.month(), 1)
    }

    fn is_fixed(&self) -> bool {
        matches!((&self.minute, &self.hour), (Field::List(_), Field::List(_)))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Pattern {
            second,
            minute,
            hour,
            day,
            month,
            weekday,
        } = self;
        write!(f, "{second} {minute} {hour} {day} {month} {weekday}")
    }
}

/// What the clock on the wall showed, look by look.
struct Watch {
    from: i64,
    step: i64,
    shown: Vec<NaiveDateTime>,
}

impl Watch {
    fn new(zone: Tz, from: i64, to: i64, step: i64) -> Self {
        let count = usize::try_from((to - from) / step).unwrap();
        let instants = (0i64..).take(count).map(|n| from + n * step);
        let shown = instants
            .map(|instant| zone.from_utc_datetime(&utc(instant)).naive_local())
            .collect();
        Watch { from, step, shown }
    }

    fn firings(&self, pattern: &Pattern) -> Vec<i64> {
        let tick = TimeDelta::seconds(self.step);
        // The latest time that was ever shown, and so everything up to it has been shown or skipped.
        let mut latest = self.shown[0] - tick;
        let mut firings = Vec::new();
        for (shown, n) in self.shown.iter().zip(0i64..) {
            let fires = if pattern.is_fixed() {
                let mut unseen = latest + tick;
                let mut fires = false;
                while unseen <= *shown {
                    fires |= pattern.names(unseen);
                    unseen += tick;
                }
                fires
            } else {
                pattern.names(*shown)
            };
            latest = latest.max(*shown);
            if fires {
                firings.push(self.from + n * self.step);
            }
        }
        firings
    }
}

fn utc(instant: i64) -> NaiveDateTime {
    DateTime::from_timestamp(instant, 0).unwrap().naive_utc()
}

fn found(pattern: &Pattern, zone: Tz, from: i64, to: i64) -> Vec<i64> {
    let text = pattern.to_string();
    let cron = Cron::parse(&text, Zone::parse(zone.name()).unwrap()).expect(&text);
    let mut firings = Vec::new();
    let mut at = Time::from_millis(from * 1000 - 1);
    while let Some(next) = cron.next_after(at) {
        let second = next.millis() / 1000;
        if second >= to {
            break;
        }
        firings.push(second);
        at = next;
    }
    firings
}

fn agree(pattern: &Pattern, zone: Tz, watch: &Watch) {
    let to = watch.from + i64::try_from(watch.shown.len()).unwrap() * watch.step;
    let (expected, found) = (watch.firings(pattern), found(pattern, zone, watch.from, to));
    if expected != found {
        let name = |list: &[i64], other: &[i64]| -> Vec<String> {
            list.iter()
                .filter(|instant| !other.contains(instant))
                .take(5)
                .map(|instant| zone.from_utc_datetime(&utc(*instant)).to_rfc3339())
                .collect()
        };
        panic!(
            "`{pattern}` in {zone}: missing {:?}, made up {:?}",
            name(&expected, &found),
            name(&found, &expected)
        );
    }
}

/// The clock changes of a zone, to the second, by looking every six hours; in the full run every quarter of an hour.
fn changes(zone: Tz, from: &str, to: &str) -> Vec<i64> {
    let second = |text: &str| text.parse::<DateTime<Utc>>().unwrap().timestamp();
    let offset = |instant: i64| zone.from_utc_datetime(&utc(instant)).naive_local() - utc(instant);
    let (mut changes, to) = (Vec::new(), second(to));
    let (mut at, stride) = (second(from), if full() { 900 } else { 6 * HOUR });
    while at < to {
        if offset(at) != offset(at + stride) {
            let change = (at..at + stride)
                .find(|n| offset(*n) != offset(n + 1))
                .unwrap();
            changes.push(change + 1);
        }
        at += stride;
    }
    changes
}

fn list(values: &[u32]) -> Field {
    Field::List(values.to_vec())
}

/// Patterns whose smallest step is a minute.
fn patterns() -> Vec<Pattern> {
    let every = Pattern {
        second: list(&[0]),
        minute: Field::Any,
        hour: Field::Any,
        day: Field::Any,
        month: Field::Any,
        weekday: Field::Any,
    };
    let at = |minute: Field, hour: Field| Pattern {
        minute,
        hour,
        ..every.clone()
    };
    vec![
        every.clone(),
        at(list(&[0]), Field::Any),
        at(Field::Step(20), Field::Any),
        at(Field::Step(7), list(&[2])),
        at(Field::Any, list(&[1, 2])),
        at(list(&[30]), Field::Range(0, 3)),
        at(list(&[45]), Field::RangeStep(0, 23, 2)),
        at(Field::Range(50, 59), list(&[23])),
        at(list(&[0]), list(&[0])),
        at(list(&[30]), list(&[0])),
        at(list(&[30]), list(&[1])),
        at(list(&[0]), list(&[2])),
        at(list(&[30]), list(&[2])),
        at(list(&[15, 45]), list(&[1, 2, 3])),
        at(list(&[0]), list(&[3])),
        at(list(&[59]), list(&[23])),
        at(list(&[5, 35]), list(&[22, 23, 0])),
        Pattern {
            weekday: list(&[0]),
            ..at(list(&[30]), list(&[2]))
        },
        Pattern {
            weekday: list(&[6]),
            ..at(list(&[30]), list(&[23]))
        },
        Pattern {
            day: Field::Range(8, 14),
            weekday: list(&[0]),
            ..at(Field::Step(15), list(&[1, 2, 23]))
        },
        Pattern {
            day: Field::Step(2),
            ..at(list(&[10]), list(&[0, 1, 2, 3]))
        },
        Pattern {
            month: list(&[3, 10]),
            ..at(list(&[1]), list(&[2]))
        },
    ]
}

/// Patterns with seconds.
fn fine_patterns() -> Vec<Pattern> {
    let at = |second: Field, minute: Field, hour: Field| Pattern {
        second,
        minute,
        hour,
        day: Field::Any,
        month: Field::Any,
        weekday: Field::Any,
    };
    vec![
        at(Field::Step(13), Field::Any, Field::Any),
        at(Field::Step(20), list(&[0, 30]), list(&[0, 1, 2, 3])),
        at(list(&[59]), list(&[59]), Field::Any),
        at(list(&[1, 58]), list(&[0, 59]), list(&[1, 2, 23])),
        at(Field::Range(10, 12), Field::Step(9), list(&[2])),
    ]
}

const HOUR: i64 = 3600;

fn watch_by_minutes(zone: Tz, change: i64, patterns: &[Pattern]) {
    // Some changes of the past are not on a minute; the watch is set so that it sees the change itself.
    let watch = Watch::new(zone, change - 30 * HOUR, change + 30 * HOUR, 60);
    for pattern in patterns {
        agree(pattern, zone, &watch);
    }
}

fn watch_by_seconds(zone: Tz, change: i64, patterns: &[Pattern]) {
    let watch = Watch::new(zone, change - 4 * HOUR, change + 4 * HOUR, 1);
    for pattern in patterns {
        agree(pattern, zone, &watch);
    }
}

/// One zone of each kind of change: an hour at 1, 2, 3 o'clock and at midnight, half an hour, two hours, across
/// midnight, at Ramadan, and none.
const SAMPLE: [Tz; 13] = [
    Tz::Europe__Berlin,
    Tz::Europe__London,
    Tz::America__New_York,
    Tz::America__Santiago,
    Tz::America__Havana,
    Tz::America__Nuuk,
    Tz::Asia__Beirut,
    Tz::Africa__Cairo,
    Tz::Africa__Casablanca,
    Tz::Australia__Lord_Howe,
    Tz::Antarctica__Troll,
    Tz::Pacific__Chatham,
    Tz::Asia__Tokyo,
];

/// Changes that no zone has in these years: a day skipped, a day lived twice, a minute past midnight, hours and
/// quarters for good.
const ODD: [(Tz, &str, &str); 8] = [
    (
        Tz::Pacific__Apia,
        "2011-12-29T00:00:00Z",
        "2012-01-01T00:00:00Z",
    ),
    (
        Tz::Pacific__Kwajalein,
        "1993-08-19T00:00:00Z",
        "1993-08-23T00:00:00Z",
    ),
    (
        Tz::America__St_Johns,
        "2010-03-01T00:00:00Z",
        "2010-12-01T00:00:00Z",
    ),
    (
        Tz::Asia__Pyongyang,
        "2015-08-01T00:00:00Z",
        "2018-06-01T00:00:00Z",
    ),
    (
        Tz::America__Caracas,
        "2007-12-01T00:00:00Z",
        "2016-06-01T00:00:00Z",
    ),
    (
        Tz::Antarctica__Casey,
        "2009-01-01T00:00:00Z",
        "2024-01-01T00:00:00Z",
    ),
    (
        Tz::Europe__Volgograd,
        "2010-01-01T00:00:00Z",
        "2021-12-01T00:00:00Z",
    ),
    (
        Tz::America__Juneau,
        "1867-10-01T00:00:00Z",
        "1867-11-01T00:00:00Z",
    ),
];

const FROM: &str = "2024-01-01T00:00:00Z";
const TO: &str = "2029-01-01T00:00:00Z";

fn full() -> bool {
    std::env::var_os("TIDEWIRE_TEST_FULL").is_some_and(|value| value == "1")
}

#[test]
fn cron_agrees_with_a_watched_clock() {
    let (coarse, fine) = (patterns(), fine_patterns());
    if full() {
        // Many names are the same clock: each change of a clock is watched once.
        let mut watched = HashSet::new();
        for zone in TZ_VARIANTS {
            for change in changes(zone, FROM, TO) {
                let shown =
                    [change - 1, change].map(|n| zone.from_utc_datetime(&utc(n)).naive_local());
                if watched.insert((change, shown)) {
                    watch_by_minutes(zone, change, &coarse);
                    watch_by_seconds(zone, change, &fine);
                }
            }
        }
        return;
    }
    for (zone, n) in SAMPLE.into_iter().zip(0..) {
        let changes = changes(zone, "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z");
        for change in &changes {
            watch_by_minutes(zone, *change, &coarse);
        }
        if let Some(change) = changes.first() {
            watch_by_seconds(zone, *change, &fine[n % fine.len()..][..1]);
        }
    }
}

#[test]
fn cron_agrees_with_a_watched_clock_at_odd_changes() {
    for (zone, from, to) in ODD {
        let changes = changes(zone, from, to);
        assert!(!changes.is_empty(), "{zone}");
        for change in changes {
            if change.rem_euclid(60) == 0 {
                watch_by_minutes(zone, change, &patterns());
            }
        }
    }
}

/// The search looks at the zone twice a day; what it could miss by that is not there.
#[test]
fn no_two_changes_of_a_zone_are_close_to_each_other() {
    let zones: &[Tz] = if full() { &TZ_VARIANTS } else { &SAMPLE };
    for zone in zones {
        let changes = changes(*zone, FROM, TO);
        for pair in changes.windows(2) {
            assert!(pair[1] - pair[0] > 7 * 24 * HOUR, "{zone} {pair:?}");
        }
    }
}

fn field(low: u32, high: u32) -> impl Strategy<Value = Field> {
    let value = low..=high;
    prop_oneof![
        2 => Just(Field::Any),
        1 => (2..=high).prop_map(Field::Step),
        1 => (value.clone(), value.clone()).prop_map(|(a, b)| Field::Range(a.min(b), a.max(b))),
        1 => (value.clone(), value.clone(), 2..=high)
            .prop_map(|(a, b, step)| Field::RangeStep(a.min(b), a.max(b), step)),
        5 => prop::collection::btree_set(value, 1..4)
            .prop_map(|list| Field::List(list.into_iter().collect())),
    ]
}

fn any_pattern() -> impl Strategy<Value = Pattern> {
    // Mostly the hours at which clocks are changed.
    let hour = prop_oneof![
        1 => field(0, 23),
        3 => prop::collection::btree_set(prop::sample::select(vec![0u32, 1, 2, 3, 23]), 1..4)
            .prop_map(|list| Field::List(list.into_iter().collect())),
    ];
    let rarely = |low, high| prop_oneof![3 => Just(Field::Any), 1 => field(low, high)];
    (
        field(0, 59),
        hour,
        rarely(1, 31),
        rarely(1, 12),
        rarely(0, 6),
    )
        .prop_map(|(minute, hour, day, month, weekday)| Pattern {
            second: Field::List(vec![0]),
            minute,
            hour,
            day,
            month,
            weekday,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if full() { 2000 } else { 60 }))]

    #[test]
    fn any_pattern_agrees_with_a_watched_clock(
        pattern in any_pattern(),
        zone in prop::sample::select(SAMPLE.to_vec()),
        change in any::<prop::sample::Index>(),
    ) {
        let changes = changes(zone, "2027-01-01T00:00:00Z", "2028-01-01T00:00:00Z");
        let change = if changes.is_empty() { 1_800_000_000 } else { *change.get(&changes) };
        watch_by_minutes(zone, change, &[pattern]);
    }
}
