//! Durations as people write them in settings: `250ms`, `15s`, `10m`, `2h`, `30d`, or several in a
//! row (`1h30m`).

use std::time::Duration;

const UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

/// Reads a duration; the error says what was wrong and shows the form.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a duration such as 250ms, 15s, 10m, 2h or 30d");
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut millis = 0u64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let end = tail
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let (_, factor) = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(wrong)?;
        let number: u64 = number.parse().map_err(|_| wrong())?;
        millis = number
            .checked_mul(*factor)
            .and_then(|n| millis.checked_add(n))
            .ok_or_else(wrong)?;
        rest = tail;
    }
    Ok(Duration::from_millis(millis))
}

/// Writes a duration in the largest unit that holds it exactly.
#[must_use]
pub fn format(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (unit, factor) = UNITS
        .iter()
        .rev()
        .find(|(_, factor)| millis != 0 && millis.is_multiple_of(*factor))
        .unwrap_or(&UNITS[1]);
    format!("{}{unit}", millis / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for text in ["250ms", "15s", "10m", "2h", "30d", "0s", "90s"] {
            let read = parse(text).unwrap();
            assert_eq!(parse(&format(read)).unwrap(), read);
        }
        assert_eq!(parse("1h30m").unwrap(), Duration::from_secs(5400));
        for bad in ["", "5", "s", "5 s", "-1s", "1w", "99999999999999999999s"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
