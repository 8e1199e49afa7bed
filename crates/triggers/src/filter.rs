//! Which events set off an event trigger: a pattern for their type, and a filter, a JSON object that is matched against
//! the event.
//!
//! The filter is a tree of conditions, each asked of one value or of a missing one. A condition says yes or no and has
//! no third answer, so `$not` turns every one of them around, and De Morgan's laws hold. In the payload only the objects
//! that the filter descends into are taken apart, one level at a time.

mod event_type;
mod literal;
mod number;
mod parse;

#[cfg(test)]
mod tests;

use std::{borrow::Cow, cmp::Ordering};

use serde_json::value::RawValue;
use tidewire_core::{Problem, Time};

use crate::raw::{self, Value};
use literal::Literal;

pub use event_type::TypePattern;

/// Conditions and values in one filter.
pub const MAX_CONDITIONS: usize = 1000;

/// What a filter can ask of an event.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'e> {
    pub id: &'e str,
    pub stream: &'e str,
    pub seq: u64,
    pub kind: &'e str,
    pub subject: Option<&'e str>,
    pub source: Option<&'e str>,
    pub dedupe_key: Option<&'e str>,
    pub occurred_at: Time,
    pub created_at: Time,
    pub payload: &'e RawValue,
}

/// The names of an event's own fields, as its JSON has them.
const FIELDS: [&str; 10] = [
    "id",
    "stream",
    "seq",
    "type",
    "subject",
    "source",
    "dedupe_key",
    "occurred_at",
    "created_at",
    "payload",
];

impl<'e> Facts<'e> {
    fn field(&self, name: &str) -> Option<Value<'e>> {
        let text = |text: &'e str| Value::Text(Cow::Borrowed(text));
        let maybe = |value: Option<&'e str>| value.map_or(Value::Null, text);
        Some(match name {
            "id" => text(self.id),
            "stream" => text(self.stream),
            "seq" => Value::Number(Cow::Owned(self.seq.to_string())),
            "type" => text(self.kind),
            "subject" => maybe(self.subject),
            "source" => maybe(self.source),
            "dedupe_key" => maybe(self.dedupe_key),
            "occurred_at" => Value::Text(Cow::Owned(self.occurred_at.to_string())),
            "created_at" => Value::Text(Cow::Owned(self.created_at.to_string())),
            "payload" => Value::of(self.payload),
            _ => return None,
        })
    }
}

/// A filter that was checked.
#[derive(Clone, Debug)]
pub struct Filter(Condition);

impl Filter {
    /// Reads a filter. Pointers are relative to it; everything that is wrong with it is named.
    pub fn parse(raw: &RawValue) -> Result<Self, Problem> {
        parse::filter(raw).map(Filter)
    }

    #[must_use]
    pub fn matches(&self, event: &Facts<'_>) -> bool {
        self.0.holds(Some(&Asked::Event(event)))
    }
}

/// A question that has the answer yes or no.
#[derive(Clone, Debug)]
enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    /// Asked of the members of an object. What is no object has none.
    Members(Vec<(String, Condition)>),
    Equals(Literal),
    In(Vec<Literal>),
    Compares(Comparison, Bound),
    Exists(bool),
    Prefix(String),
}

#[derive(Clone, Copy, Debug)]
enum Comparison {
    AtLeast,
    Above,
    AtMost,
    Below,
}

impl Comparison {
    fn allows(self, order: Ordering) -> bool {
        match self {
            Comparison::AtLeast => order.is_ge(),
            Comparison::Above => order.is_gt(),
            Comparison::AtMost => order.is_le(),
            Comparison::Below => order.is_lt(),
        }
    }
}

/// What a value is compared with. Numbers compare with numbers and strings with strings, by code points.
#[derive(Clone, Debug)]
enum Bound {
    Number(String),
    Text(String),
}

/// What a condition is asked of.
enum Asked<'a, 'e> {
    Event(&'a Facts<'e>),
    Value(Value<'e>),
}

impl Condition {
    fn holds(&self, asked: Option<&Asked<'_, '_>>) -> bool {
        let value = match asked {
            Some(Asked::Value(value)) => Some(value),
            Some(Asked::Event(_)) | None => None,
        };
        match self {
            Condition::All(all) => all.iter().all(|condition| condition.holds(asked)),
            Condition::Any(any) => any.iter().any(|condition| condition.holds(asked)),
            Condition::Not(condition) => !condition.holds(asked),
            Condition::Members(members) => members_hold(members, asked),
            Condition::Exists(wanted) => asked.is_some() == *wanted,
            Condition::Equals(literal) => value.is_some_and(|value| literal.equals(value)),
            Condition::In(list) => {
                value.is_some_and(|value| list.iter().any(|literal| literal.equals(value)))
            }
            Condition::Compares(comparison, bound) => {
                let order = match (value, bound) {
                    (Some(Value::Number(value)), Bound::Number(bound)) => {
                        number::compare(value, bound)
                    }
                    // UTF-8 sorts as its code points do.
                    (Some(Value::Text(value)), Bound::Text(bound)) => {
                        value.as_ref().cmp(bound.as_str())
                    }
                    _ => return false,
                };
                comparison.allows(order)
            }
            Condition::Prefix(prefix) => {
                matches!(value, Some(Value::Text(text)) if text.starts_with(prefix.as_str()))
            }
        }
    }
}

fn members_hold(members: &[(String, Condition)], asked: Option<&Asked<'_, '_>>) -> bool {
    match asked {
        Some(Asked::Event(event)) => members.iter().all(|(name, condition)| {
            let value = event.field(name).map(Asked::Value);
            condition.holds(value.as_ref())
        }),
        Some(Asked::Value(Value::Object(object))) => {
            let names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
            let found = raw::pick(object, &names);
            members.iter().zip(found).all(|((_, condition), found)| {
                let value = found.map(|raw| Asked::Value(Value::of(raw)));
                condition.holds(value.as_ref())
            })
        }
        Some(Asked::Value(_)) | None => members.iter().all(|(_, condition)| condition.holds(None)),
    }
}
