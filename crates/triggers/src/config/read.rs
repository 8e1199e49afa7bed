//! Reading an object of a config member by member. A fault does not end the reading: all of them are told at once.

use std::{borrow::Cow, time::Duration};

use serde_json::value::RawValue;
use tidewire_core::{FieldError, json::escape, problem::clip};

use crate::raw::{self, Value};

/// Everything that is wrong with a config.
#[derive(Debug, Default)]
pub(super) struct Faults(pub Vec<FieldError>);

impl Faults {
    pub fn add(&mut self, pointer: impl Into<String>, detail: impl Into<String>) {
        self.0.push(FieldError {
            pointer: pointer.into(),
            detail: detail.into(),
        });
    }

    /// The value, or its fault is noted.
    pub fn note<T>(&mut self, pointer: impl Into<String>, result: Result<T, String>) -> Option<T> {
        result.map_err(|detail| self.add(pointer, detail)).ok()
    }
}

/// The members of an object that are not taken yet.
pub(super) struct Members<'a> {
    at: String,
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Members<'a> {
    /// The members of the object at the pointer `at`; none, and a fault, if there is no object.
    pub fn of(raw: &'a RawValue, at: impl Into<String>, faults: &mut Faults) -> Self {
        let at = at.into();
        let mut members = raw::object(raw).unwrap_or_else(|| {
            let what = Value::of(raw).kind();
            faults.add(&at, format!("must be an object, it is {what}"));
            Vec::new()
        });
        let mut n = 0;
        while n < members.len() {
            let name = members[n].0.clone();
            if members[..n].iter().any(|(earlier, _)| *earlier == name) {
                faults.add(format!("{at}/{}", escape(&name)), "is given twice");
                members.remove(n);
            } else {
                n += 1;
            }
        }
        Members { at, members }
    }

    pub fn pointer(&self, name: &str) -> String {
        format!("{}/{name}", self.at)
    }

    /// Whether the pointer is that of the object itself.
    pub fn is_at(&self, pointer: &str) -> bool {
        self.at == pointer
    }

    pub fn has(&self, name: &str) -> bool {
        let mut members = self.members.iter();
        members.any(|(known, raw)| known == name && raw.get() != "null")
    }

    /// A member whose `null` is a value like any other.
    pub fn take_any(&mut self, name: &str) -> Option<&'a RawValue> {
        let place = self.members.iter().position(|(known, _)| known == name)?;
        Some(self.members.remove(place).1)
    }

    /// A member. `null` is as good as none.
    pub fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        self.take_any(name).filter(|raw| raw.get() != "null")
    }

    pub fn text(&mut self, name: &str, faults: &mut Faults) -> Option<Cow<'a, str>> {
        match Value::of(self.take(name)?) {
            Value::Text(text) => Some(text),
            other => {
                faults.add(
                    self.pointer(name),
                    format!("must be a string, it is {}", other.kind()),
                );
                None
            }
        }
    }

    /// A string that `read` makes something of.
    pub fn parsed<T>(
        &mut self,
        name: &str,
        faults: &mut Faults,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(name, faults)?;
        faults.note(self.pointer(name), read(&text))
    }

    pub fn flag(&mut self, name: &str, faults: &mut Faults) -> Option<bool> {
        match Value::of(self.take(name)?) {
            Value::Bool(flag) => Some(flag),
            other => {
                faults.add(
                    self.pointer(name),
                    format!("must be true or false, it is {}", other.kind()),
                );
                None
            }
        }
    }

    pub fn whole(&mut self, name: &str, low: u32, high: u32, faults: &mut Faults) -> Option<u32> {
        let raw = self.take(name)?;
        match raw.get().parse() {
            Ok(number) if (low..=high).contains(&number) => Some(number),
            _ => {
                let shown = clip(raw.get());
                faults.add(
                    self.pointer(name),
                    format!("must be a whole number from {low} to {high}, it is {shown}"),
                );
                None
            }
        }
    }

    /// A number of seconds, of which fractions are good too.
    pub fn seconds(
        &mut self,
        name: &str,
        low: f64,
        high: f64,
        faults: &mut Faults,
    ) -> Option<Duration> {
        let raw = self.take(name)?;
        match raw.get().parse::<f64>() {
            Ok(seconds) if seconds >= low && seconds <= high => {
                Some(Duration::from_secs_f64(seconds))
            }
            _ => {
                let shown = clip(raw.get());
                faults.add(
                    self.pointer(name),
                    format!("must be {low} to {high} seconds, it is {shown}"),
                );
                None
            }
        }
    }

    /// Whatever was not taken is not known.
    pub fn close(self, what: &str, known: &[&str], faults: &mut Faults) {
        for (name, _) in &self.members {
            faults.add(
                format!("{}/{}", self.at, escape(name)),
                format!(
                    "`{}` is no field of {what}: there are {}",
                    clip(name),
                    known.join(", ")
                ),
            );
        }
    }
}
