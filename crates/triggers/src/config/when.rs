//! Points in time as configs write them.

use chrono::NaiveDateTime;
use tidewire_core::{Time, problem::clip};

use crate::occurrence::Zone;

const LOCAL: [&str; 2] = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"];

/// A time with an offset or, if there is a zone, the local time of it: the first instant at which its clock shows that
/// or, if it skips that, the first one after the gap.
pub(super) fn parse(text: &str, zone: Option<Zone>) -> Result<Time, String> {
    let Some(local) = LOCAL
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
    else {
        return text.parse();
    };
    let Some(zone) = zone else {
        return Err(format!(
            "`{}` has no offset: end it with Z or +01:00, or name its `timezone`",
            clip(text)
        ));
    };
    zone.instant(local)
        .ok_or_else(|| format!("`{}` is outside the years 0001 to 9999", clip(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn berlin(text: &str) -> String {
        let zone = Zone::parse("Europe/Berlin").unwrap();
        parse(text, Some(zone)).unwrap().to_string()
    }

    #[test]
    fn an_offset_wins_over_the_zone() {
        assert_eq!(
            berlin("2026-07-01T12:00:00Z"),
            "2026-07-01T12:00:00.000000Z"
        );
        assert_eq!(
            berlin("2026-07-01T12:00:00-05:00"),
            "2026-07-01T17:00:00.000000Z"
        );
    }

    #[test]
    fn a_local_time_is_decided_as_crons_are() {
        assert_eq!(berlin("2026-07-01T12:00"), "2026-07-01T10:00:00.000000Z");
        assert_eq!(
            berlin("2026-07-01T12:00:00.25"),
            "2026-07-01T10:00:00.250000Z"
        );
        // Skipped, also with a fraction: the first instant after the gap.
        assert_eq!(
            berlin("2026-03-29T02:30:00.5"),
            "2026-03-29T01:00:00.000000Z"
        );
        // Doubled: the first of two.
        assert_eq!(berlin("2026-10-25T02:30:00"), "2026-10-25T00:30:00.000000Z");
    }

    #[test]
    fn a_local_time_needs_a_zone() {
        assert!(
            parse("2026-07-01T12:00:00", None)
                .unwrap_err()
                .contains("timezone")
        );
        for bad in [
            "",
            "tomorrow",
            "2026-07-01",
            "2026-02-30T12:00:00",
            "12:00",
            "-0001-01-01T00:00:00",
        ] {
            let zone = Zone::parse("Europe/Berlin").unwrap();
            assert!(parse(bad, Some(zone)).is_err(), "{bad}");
        }
    }
}
