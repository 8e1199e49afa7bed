//! What a record becomes.

use serde_json::value::RawValue;
use tidewire_core::{Time, json, name, problem::clip};
use tidewire_events::MAX_PAYLOAD;

use super::{Format, Resource, Shape, Values, text_of};

/// Room for what stands around a record in an event's payload.
const WRAPPING: usize = 2 << 10;
const MAX_TEXT: usize = 512;

/// An event that a record makes, but for its subject's attribution.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub kind: String,
    pub dedupe_key: String,
    pub subject: Option<String>,
    pub occurred_at: Option<Time>,
    /// The subject's latest `utm_source` goes along.
    pub attribution: bool,
}

impl Resource {
    /// The id of a record.
    pub(crate) fn id_of(&self, record: &RawValue) -> Result<String, String> {
        let id = self.id.find(record).and_then(text_of);
        match id {
            Some(id) if !id.is_empty() => Ok(id.into_owned()),
            _ => Err(format!("it has no id at `{}`", self.id)),
        }
    }

    /// How new a record is, if that counts.
    pub(crate) fn cursor_of(&self, record: &RawValue) -> Result<Option<i64>, String> {
        let Some(incremental) = &self.incremental else {
            return Ok(None);
        };
        let pointer = &incremental.cursor;
        let text = pointer.find(record).and_then(text_of);
        let text = text.ok_or_else(|| format!("it has no cursor at `{pointer}`"))?;
        let read = incremental.format.read(&text);
        read.map(Some).map_err(|why| format!("`{pointer}` {why}"))
    }

    /// The events that a record makes; `refreshed` if everything is read again because something may
    /// have changed unseen. An error says why it makes none.
    pub(crate) fn events_of(
        &self,
        site: &str,
        record: &RawValue,
        refreshed: bool,
    ) -> Result<Vec<Made>, String> {
        if !record.get().starts_with('{') {
            return Err("it is no object".to_owned());
        }
        if record.get().len() + WRAPPING > MAX_PAYLOAD {
            return Err(format!("it has {} bytes", record.get().len()));
        }
        json::check(record.get())
            .map_err(|fault| format!("`{}` {}", fault.pointer, fault.detail))?;
        let id = self.id_of(record)?;
        let occurred_at = self.time.as_ref().map(|(pointer, format)| {
            let text = pointer.find(record).and_then(text_of);
            let text = text.ok_or_else(|| format!("it has no time at `{pointer}`"))?;
            let micros = format
                .read(&text)
                .map_err(|why| format!("`{pointer}` {why}"))?;
            Ok::<_, String>(Time::from_micros(micros))
        });
        let values = Values {
            site,
            resource: &self.name,
            id: &id,
            record: Some(record),
            key: "",
        };
        let occurred_at = occurred_at.transpose()?;
        let snapshot = self.snapshot.as_ref().filter(|_| refreshed);
        let shapes = std::iter::once(&self.event).chain(snapshot);
        shapes
            .map(|shape| shape.event(&values, record, occurred_at))
            .collect()
    }
}

impl Shape {
    fn event(
        &self,
        values: &Values<'_>,
        record: &RawValue,
        occurred_at: Option<Time>,
    ) -> Result<Made, String> {
        let kind = self.kind.filled(values)?;
        name::check(&kind, name::TYPE_MAX).map_err(|why| format!("the type `{kind}` {why}"))?;
        let dedupe_key = self.dedupe_key.filled(values)?;
        name::check_text(&dedupe_key, MAX_TEXT).map_err(|why| format!("the dedupe key {why}"))?;
        let subject = self
            .subject
            .as_ref()
            .and_then(|pointer| pointer.find(record));
        let subject = subject.and_then(text_of).filter(|text| !text.is_empty());
        if let Some(subject) = &subject {
            name::check_text(subject, MAX_TEXT).map_err(|why| format!("the subject {why}"))?;
        }
        Ok(Made {
            kind,
            dedupe_key,
            attribution: self.attribution && subject.is_some(),
            subject: subject.map(std::borrow::Cow::into_owned),
            occurred_at,
        })
    }
}

impl Format {
    /// A time in microseconds, or the number itself.
    pub(crate) fn read(self, text: &str) -> Result<i64, String> {
        let number = || {
            // A second may have a fraction; it is of no use as a whole number otherwise.
            let whole = text.split_once('.').map_or(text, |(whole, _)| whole);
            let number = whole.parse::<i64>();
            number.map_err(|_| format!("is `{}`, which is no number", clip(text)))
        };
        let scaled = |by: i64| number().map(|n| n.saturating_mul(by));
        match self {
            Format::Rfc3339 => text.parse::<Time>().map(Time::micros),
            Format::Unix => match text.parse::<f64>() {
                Ok(seconds) if text.contains('.') && seconds.is_finite() =>
                {
                    #[expect(
                        clippy::cast_possible_truncation,
                        reason = "times are far from the ends"
                    )]
                    Ok((seconds * 1e6).round() as i64)
                }
                _ => scaled(1_000_000),
            },
            Format::UnixMillis => scaled(1_000),
            Format::Number => number(),
        }
    }

    /// A cursor as the source writes it. A part of a second is left out, where there is none: reading
    /// begins a little earlier.
    pub(crate) fn write(self, cursor: i64) -> String {
        match self {
            Format::Rfc3339 => {
                let mut text = Time::from_micros(cursor).to_string();
                // Without a fraction, which not everybody takes.
                text.truncate("2026-01-31T12:00:00".len());
                text.push('Z');
                text
            }
            Format::Unix => cursor.div_euclid(1_000_000).to_string(),
            Format::UnixMillis => cursor.div_euclid(1_000).to_string(),
            Format::Number => cursor.to_string(),
        }
    }
}
