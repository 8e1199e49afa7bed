//! The fields of a cron pattern: what each may hold, what is wrong with one that holds something else, and the same with
//! numbers for names.

use tidewire_core::problem::clip;

/// One of the six fields, and what it takes.
pub(super) struct Field {
    name: &'static str,
    low: u16,
    high: u16,
    names: &'static [&'static str],
    /// The number of the first name.
    first: u16,
    days: Days,
}

#[derive(PartialEq)]
enum Days {
    No,
    OfMonth,
    OfWeek,
}

const MONTHS: [&str; 12] = [
    "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

pub(super) const FIELDS: [Field; 6] = [
    Field::plain("second", 0, 59),
    Field::plain("minute", 0, 59),
    Field::plain("hour", 0, 23),
    Field {
        days: Days::OfMonth,
        ..Field::plain("day of month", 1, 31)
    },
    Field {
        names: &MONTHS,
        first: 1,
        ..Field::plain("month", 1, 12)
    },
    Field {
        names: &WEEKDAYS,
        days: Days::OfWeek,
        ..Field::plain("day of week", 0, 7)
    },
];

impl Field {
    const fn plain(name: &'static str, low: u16, high: u16) -> Self {
        Field {
            name,
            low,
            high,
            names: &[],
            first: 0,
            days: Days::No,
        }
    }

    /// The field with numbers for names, or what is wrong with it.
    pub fn numbers(&self, part: &str) -> Result<String, String> {
        if part == "?" && self.days != Days::No {
            return Ok("*".to_owned());
        }
        let (both, list) = match part.strip_prefix('+') {
            Some(list) if self.days == Days::OfWeek => ("+", list),
            _ => ("", part),
        };
        let items: Result<Vec<_>, _> = list.split(',').map(|item| self.item(item)).collect();
        match items {
            Ok(items) if items.len() > 1 && items.iter().any(|item| item == "*") => Err(format!(
                "the {} `{}` has a `*` in a list, which makes the rest of it meaningless",
                self.name,
                clip(part)
            )),
            Ok(items) => Ok(format!("{both}{}", items.join(","))),
            Err(what) => Err(format!("the {} `{}` {what}", self.name, clip(part))),
        }
    }

    fn item(&self, item: &str) -> Result<String, String> {
        if item.is_empty() {
            return Err("has an empty place in its list".to_owned());
        }
        if let Some(special) = self.special(item)? {
            return Ok(special);
        }
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(self.step(step)?)),
            None => (item, None),
        };
        let range = if range == "*" {
            "*".to_owned()
        } else if let Some((low, high)) = range.split_once('-') {
            let (low, mut high) = (self.number(low)?, self.number(high)?);
            // SUN is 0 where a week begins with it and 7 where it ends with it.
            if self.days == Days::OfWeek && high == 0 && low > 0 {
                high = 7;
            }
            if low > high {
                return Err(format!(
                    "goes from {low} back to {high}: write it as a list of two ranges"
                ));
            }
            format!("{low}-{high}")
        } else {
            let number = self.number(range)?;
            if step.is_some() {
                return Err(format!(
                    "has a step without a range: write `{number}-{}/…` or `*/…`",
                    self.high
                ));
            }
            number.to_string()
        };
        Ok(match step {
            Some(step) => format!("{range}/{step}"),
            None => range,
        })
    }

    /// `L`, `LW` and `15W` of a month; `FRI#2`, `MON-FRI#1`, `FRI#L` and `FRIL` of a week.
    fn special(&self, item: &str) -> Result<Option<String>, String> {
        match self.days {
            Days::OfMonth => {
                if item == "L" || item == "LW" {
                    return Ok(Some(item.to_owned()));
                }
                match item.strip_suffix('W') {
                    Some(day) => Ok(Some(format!("{}W", self.number(day)?))),
                    None => Ok(None),
                }
            }
            Days::OfWeek => {
                let (days, which) = match item.split_once('#') {
                    Some((days, which)) => (days, which),
                    None => match item.strip_suffix('L') {
                        Some(days) => (days, "L"),
                        None => return Ok(None),
                    },
                };
                if !matches!(which, "1" | "2" | "3" | "4" | "5" | "L") {
                    return Err(format!(
                        "asks for the weekday number `{}` of a month: 1 to 5, or L for the last",
                        clip(which)
                    ));
                }
                if days.contains(['*', '/']) {
                    return Err("names no weekday before `#` or `L`".to_owned());
                }
                Ok(Some(format!("{}#{which}", self.item(days)?)))
            }
            Days::No => Ok(None),
        }
    }

    fn number(&self, text: &str) -> Result<u16, String> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = if digits {
            // More digits than a `u16` holds are out of range anyway.
            text.parse().unwrap_or(u16::MAX)
        } else {
            let place = self.names.iter().position(|name| *name == text);
            let place = place.and_then(|place| u16::try_from(place).ok());
            place.map(|place| self.first + place).ok_or_else(|| {
                let names = match (self.names.first(), self.names.last()) {
                    (Some(first), Some(last)) => format!(" or {first} to {last}"),
                    _ => String::new(),
                };
                format!(
                    "is not made of {} to {}{names} with `*` `,` `-` `/`",
                    self.low, self.high
                )
            })?
        };
        if number < self.low || number > self.high {
            return Err(format!("is outside {} to {}", self.low, self.high));
        }
        Ok(number)
    }

    fn step(&self, text: &str) -> Result<u16, String> {
        let step = text.parse().unwrap_or(0);
        if step == 0 || step > self.high || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!(
                "has the step `{}`, and 1 to {} are possible",
                clip(text),
                self.high
            ));
        }
        Ok(step)
    }
}
