//! Reading a filter: every fault is named, with a pointer to where it stands.

use serde_json::value::RawValue;
use tidewire_core::{
    FieldError, Problem, Time,
    json::{MAX_DEPTH, escape},
    problem::clip,
};

use super::{Bound, Comparison, Condition, FIELDS, Literal, MAX_CONDITIONS};
use crate::raw::{self, Value};

const OPERATORS: &str = "$gte, $gt, $lte, $lt, $in, $exists, $prefix, $not, $or";

pub(super) fn filter(raw: &RawValue) -> Result<Condition, Problem> {
    let mut reader = Reader {
        faults: Vec::new(),
        size: 0,
    };
    let condition = reader.object(raw, "", Place::Event, 0);
    if reader.size > MAX_CONDITIONS {
        let size = reader.size;
        reader.fault(
            "",
            format!("has {size} conditions and values, and {MAX_CONDITIONS} are the most"),
        );
    }
    Problem::all(reader.faults)?;
    Ok(condition)
}

/// What a condition is asked of, as far as the filter's text tells.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// The event itself, whose fields are known.
    Event,
    /// One of its times, which compare as times however they are written.
    Time,
    Value,
}

impl Place {
    fn of_field(name: &str) -> Self {
        match name {
            "occurred_at" | "created_at" => Place::Time,
            _ => Place::Value,
        }
    }
}

struct Reader {
    faults: Vec<FieldError>,
    size: usize,
}

impl Reader {
    fn fault(&mut self, pointer: &str, detail: impl Into<String>) {
        self.faults.push(FieldError {
            pointer: pointer.to_owned(),
            detail: detail.into(),
        });
    }

    /// An object is a condition for each of its members; any other value asks for equality.
    fn condition(
        &mut self,
        raw: &RawValue,
        pointer: &str,
        place: Place,
        depth: usize,
    ) -> Condition {
        match Value::of(raw) {
            Value::Object(_) => self.object(raw, pointer, place, depth),
            value if place == Place::Event => {
                let what = value.kind();
                self.fault(
                    pointer,
                    format!("must be an object of conditions, it is {what}"),
                );
                Condition::All(Vec::new())
            }
            _ => Condition::Equals(self.literal(raw, pointer, place)),
        }
    }

    fn object(&mut self, raw: &RawValue, pointer: &str, place: Place, depth: usize) -> Condition {
        let Some(entries) = raw::object(raw) else {
            let what = Value::of(raw).kind();
            self.fault(
                pointer,
                format!("must be an object of conditions, it is {what}"),
            );
            return Condition::All(Vec::new());
        };
        if depth > MAX_DEPTH {
            self.fault(pointer, format!("is nested deeper than {MAX_DEPTH} levels"));
            return Condition::All(Vec::new());
        }
        self.size += 1;
        let (mut all, mut members) = (Vec::new(), Vec::new());
        for (n, (name, value)) in entries.iter().enumerate() {
            let pointer = format!("{pointer}/{}", escape(name));
            if entries[..n].iter().any(|(earlier, _)| earlier == name) {
                self.fault(&pointer, "is given twice");
            } else if name.starts_with('$') {
                all.extend(self.operator(name, value, &pointer, place, depth));
            } else if place == Place::Event && !FIELDS.contains(&name.as_ref()) {
                let fields = FIELDS.join(", ");
                self.fault(
                    &pointer,
                    format!("is no field of an event: they are {fields}; what an event carries is below `payload`"),
                );
            } else {
                let below = match place {
                    Place::Event => Place::of_field(name),
                    Place::Time | Place::Value => Place::Value,
                };
                let condition = self.condition(value, &pointer, below, depth + 1);
                members.push((name.clone().into_owned(), condition));
            }
        }
        if !members.is_empty() {
            all.push(Condition::Members(members));
        }
        match all.len() {
            1 => all.swap_remove(0),
            _ => Condition::All(all),
        }
    }

    fn operator(
        &mut self,
        name: &str,
        raw: &RawValue,
        pointer: &str,
        place: Place,
        depth: usize,
    ) -> Option<Condition> {
        self.size += 1;
        match (name, Value::of(raw)) {
            ("$not", _) => {
                let condition = self.condition(raw, pointer, place, depth + 1);
                return Some(Condition::Not(Box::new(condition)));
            }
            ("$or", Value::Array(list)) => {
                let list = self.elements(list, pointer);
                let any = list.iter().enumerate().map(|(n, element)| {
                    self.condition(element, &format!("{pointer}/{n}"), place, depth + 1)
                });
                return Some(Condition::Any(any.collect()));
            }
            ("$gte" | "$gt" | "$lte" | "$lt" | "$in" | "$exists" | "$prefix", _)
                if place == Place::Event =>
            {
                self.fault(
                    pointer,
                    "is asked of a field: write it inside the field's object",
                );
            }
            ("$in", Value::Array(list)) => {
                let list = self.elements(list, pointer);
                let literals = list
                    .iter()
                    .enumerate()
                    .map(|(n, element)| self.literal(element, &format!("{pointer}/{n}"), place));
                return Some(Condition::In(literals.collect()));
            }
            ("$exists", Value::Bool(wanted)) => return Some(Condition::Exists(wanted)),
            ("$prefix", Value::Text(text)) => return Some(Condition::Prefix(text.into_owned())),
            ("$gte" | "$gt" | "$lte" | "$lt", Value::Number(_) | Value::Text(_)) => {
                let comparison = match name {
                    "$gte" => Comparison::AtLeast,
                    "$gt" => Comparison::Above,
                    "$lte" => Comparison::AtMost,
                    _ => Comparison::Below,
                };
                let bound = match self.literal(raw, pointer, place) {
                    Literal::Text(text) => Bound::Text(text),
                    _ => Bound::Number(raw.get().to_owned()),
                };
                return Some(Condition::Compares(comparison, bound));
            }
            (known, value) => {
                let what = value.kind();
                let wanted = match known {
                    "$or" | "$in" => "an array",
                    "$exists" => "true or false",
                    "$prefix" => "a string",
                    "$gte" | "$gt" | "$lte" | "$lt" => "a number or a string",
                    unknown => {
                        let unknown = clip(unknown);
                        self.fault(
                            pointer,
                            format!("`{unknown}` is no operator: they are {OPERATORS}"),
                        );
                        return None;
                    }
                };
                self.fault(pointer, format!("must be {wanted}, it is {what}"));
            }
        }
        None
    }

    fn elements<'a>(&mut self, raw: &'a RawValue, pointer: &str) -> Vec<&'a RawValue> {
        let elements = raw::array(raw).unwrap_or_default();
        if elements.is_empty() {
            self.fault(pointer, "is empty, so nothing could ever match");
        }
        elements
    }

    fn literal(&mut self, raw: &RawValue, pointer: &str, place: Place) -> Literal {
        let literal = Literal::of(raw);
        self.size += literal.size();
        if place != Place::Time {
            return literal;
        }
        // Written as the event's times are, so that the order of the texts is the order of the times.
        let time = match &literal {
            Literal::Text(text) => text.parse::<Time>(),
            _ => Err(format!(
                "must be an RFC 3339 time, it is {}",
                Value::of(raw).kind()
            )),
        };
        match time {
            Ok(time) => Literal::Text(time.to_string()),
            Err(detail) => {
                self.fault(pointer, detail);
                literal
            }
        }
    }
}
