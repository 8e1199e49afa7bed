//! The values that a filter compares with.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::number;
use crate::raw::{self, Value};

#[derive(Clone, Debug)]
pub(super) enum Literal {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    Array(Vec<Literal>),
    Object(BTreeMap<String, Literal>),
}

impl Literal {
    pub fn of(raw: &RawValue) -> Self {
        match Value::of(raw) {
            Value::Null => Literal::Null,
            Value::Bool(value) => Literal::Bool(value),
            Value::Number(text) => Literal::Number(text.into_owned()),
            Value::Text(text) => Literal::Text(text.into_owned()),
            Value::Array(raw) => {
                let elements = raw::array(raw).unwrap_or_default();
                Literal::Array(elements.into_iter().map(Literal::of).collect())
            }
            Value::Object(raw) => {
                let members = raw::object(raw).unwrap_or_default();
                let members = members.into_iter();
                Literal::Object(
                    members
                        .map(|(name, value)| (name.into_owned(), Literal::of(value)))
                        .collect(),
                )
            }
        }
    }

    /// Values in it, itself included.
    pub fn size(&self) -> usize {
        1 + match self {
            Literal::Array(elements) => elements.iter().map(Literal::size).sum(),
            Literal::Object(members) => members.values().map(Literal::size).sum(),
            _ => 0,
        }
    }

    /// Equality as JSON has it: of numbers by value, of objects without order.
    pub fn equals(&self, value: &Value<'_>) -> bool {
        match (self, value) {
            (Literal::Null, Value::Null) => true,
            (Literal::Bool(left), Value::Bool(right)) => left == right,
            (Literal::Number(left), Value::Number(right)) => number::compare(left, right).is_eq(),
            (Literal::Text(left), Value::Text(right)) => left == right,
            (Literal::Array(left), Value::Array(right)) => {
                let right = raw::array(right).unwrap_or_default();
                left.len() == right.len()
                    && left
                        .iter()
                        .zip(right)
                        .all(|(left, right)| left.equals(&Value::of(right)))
            }
            (Literal::Object(left), Value::Object(right)) => {
                let members = raw::object(right).unwrap_or_default();
                // Of a name that stands there twice the last counts.
                let right: BTreeMap<_, _> = members.into_iter().collect();
                left.len() == right.len()
                    && left.iter().all(|(name, left)| {
                        right
                            .get(name.as_str())
                            .is_some_and(|right| left.equals(&Value::of(right)))
                    })
            }
            _ => false,
        }
    }
}
