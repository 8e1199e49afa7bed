//! A point in time as the API writes it: RFC 3339, UTC, always six digits of a second. The fixed
//! width makes text order equal time order, which the SQLite store relies on.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Datelike, NaiveDate, SecondsFormat, TimeDelta, TimeZone, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Microseconds are what every engine stores, so a time never holds more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(DateTime<Utc>);

impl Time {
    pub const EPOCH: Time = Time(DateTime::<Utc>::UNIX_EPOCH);

    #[must_use]
    pub fn new(at: DateTime<Utc>) -> Self {
        Self::from_micros(at.timestamp_micros())
    }

    /// Saturates at the ends of what chrono can hold, which no clock reaches.
    #[must_use]
    pub fn from_micros(micros: i64) -> Self {
        Time(
            Utc.timestamp_micros(micros)
                .single()
                .unwrap_or(DateTime::<Utc>::MAX_UTC),
        )
    }

    #[must_use]
    pub fn from_millis(millis: i64) -> Self {
        Self::from_micros(millis.saturating_mul(1000))
    }

    #[must_use]
    pub fn micros(self) -> i64 {
        self.0.timestamp_micros()
    }

    #[must_use]
    pub fn millis(self) -> i64 {
        self.0.timestamp_millis()
    }

    /// For drivers that store times natively.
    #[must_use]
    pub fn utc(self) -> DateTime<Utc> {
        self.0
    }

    /// The UTC day this time falls on.
    #[must_use]
    pub fn day(self) -> NaiveDate {
        self.0.date_naive()
    }

    #[must_use]
    pub fn plus(self, by: std::time::Duration) -> Self {
        let by = TimeDelta::from_std(by).unwrap_or(TimeDelta::MAX);
        self.0.checked_add_signed(by).map_or(self, Time::new)
    }

    #[must_use]
    pub fn minus(self, by: std::time::Duration) -> Self {
        let by = TimeDelta::from_std(by).unwrap_or(TimeDelta::MAX);
        self.0.checked_sub_signed(by).map_or(Time::EPOCH, Time::new)
    }

    /// How long after `earlier` this is; zero if it is not after.
    #[must_use]
    pub fn since(self, earlier: Time) -> std::time::Duration {
        (self.0 - earlier.0).to_std().unwrap_or_default()
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Time {
    type Err = String;

    /// RFC 3339 with any offset. Years outside 0001..=9999 have no RFC 3339 form and are refused.
    fn from_str(text: &str) -> Result<Self, String> {
        let at = DateTime::parse_from_rfc3339(text).map_err(|_| {
            format!("`{text}` is not an RFC 3339 time such as 2026-01-31T12:00:00.000Z")
        })?;
        let at = Time::new(at.with_timezone(&Utc));
        if !(1..=9999).contains(&at.0.year()) {
            return Err(format!("`{text}` is outside the years 0001 to 9999"));
        }
        Ok(at)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl utoipa::PartialSchema for Time {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .into()
    }
}

impl utoipa::ToSchema for Time {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_a_fixed_width_and_comes_back() {
        for text in [
            "2026-01-31T12:00:00Z",
            "2026-01-31T12:00:00.5+01:00",
            "1999-12-31T23:59:59.999999Z",
        ] {
            let at: Time = text.parse().unwrap();
            assert_eq!(at.to_string().len(), 27, "{at}");
            assert_eq!(at.to_string().parse::<Time>().unwrap(), at);
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "yesterday",
            "2026-01-31",
            "2026-13-01T00:00:00Z",
            "2026-01-31T12:00:00",
        ] {
            assert!(text.parse::<Time>().is_err(), "{text}");
        }
    }
}
