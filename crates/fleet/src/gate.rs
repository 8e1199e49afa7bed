//! What must hold before a version's share is raised: `failed<1%`. Pure.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Fewer of those who have tried the version have failed than this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gate {
    /// In hundredths of a percent.
    failed_below: u32,
}

/// How the version fares among those whom it is offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fares {
    pub applied: u64,
    pub failed: u64,
    /// Seen lately, and have not said how it went.
    pub silent: u64,
}

impl Gate {
    /// Why the share must not be raised.
    pub(crate) fn judge(&self, fares: Fares) -> Result<(), String> {
        let Fares {
            applied,
            failed,
            silent,
        } = fares;
        if failed * 10_000 >= (applied + failed) * u64::from(self.failed_below) && failed > 0 {
            return Err(format!("{failed} of {} have failed", applied + failed));
        }
        if applied == 0 {
            return Err("nobody has applied it yet".to_owned());
        }
        if silent > 0 {
            return Err(format!(
                "{silent} of {} have not said yet how it went",
                applied + failed + silent
            ));
        }
        Ok(())
    }
}

impl FromStr for Gate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{}` is no gate: write failed<1% (more than 0, at most 100, two decimals at most)",
                tidewire_core::problem::clip(text)
            )
        };
        let bare: String = text.split_whitespace().collect();
        let number = bare
            .strip_prefix("failed<")
            .and_then(|rest| rest.strip_suffix('%'))
            .ok_or_else(wrong)?;
        let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |text: &str, most: usize| {
            let fits = (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
            fits.then(|| text.parse::<u32>().ok())
                .flatten()
                .ok_or_else(wrong)
        };
        let hundredths = digits(decimals, 2)? * if decimals.len() == 1 { 10 } else { 1 };
        let failed_below = digits(whole, 3)? * 100 + hundredths;
        if !(1..=10_000).contains(&failed_below) {
            return Err(wrong());
        }
        Ok(Gate { failed_below })
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed<{}", self.failed_below / 100)?;
        match self.failed_below % 100 {
            0 => {}
            tenths if tenths % 10 == 0 => write!(f, ".{}", tenths / 10)?,
            hundredths => write!(f, ".{hundredths:02}")?,
        }
        f.write_str("%")
    }
}

impl Serialize for Gate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Gate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_comes_back_from_its_text() {
        for (text, shown) in [
            ("failed<1%", "failed<1%"),
            (" failed < 0.5 % ", "failed<0.5%"),
            ("failed<12.05%", "failed<12.05%"),
            ("failed<100%", "failed<100%"),
        ] {
            assert_eq!(text.parse::<Gate>().unwrap().to_string(), shown);
        }
        for bad in [
            "failed<0%",
            "failed<101%",
            "failed<1",
            "failed>1%",
            "failed<-1%",
            "failed<0.001%",
            "failed<.5%",
            "",
        ] {
            assert!(bad.parse::<Gate>().unwrap_err().contains("failed<1%"));
        }
    }

    #[test]
    fn a_gate_opens_when_all_have_answered_and_few_have_failed() {
        let gate: Gate = "failed<10%".parse().unwrap();
        let judged = |applied, failed, silent| {
            gate.judge(Fares {
                applied,
                failed,
                silent,
            })
        };
        assert!(judged(0, 0, 0).unwrap_err().contains("nobody"));
        assert!(judged(5, 0, 1).unwrap_err().contains("1 of 6"));
        assert!(judged(9, 1, 0).unwrap_err().contains("1 of 10"));
        judged(10, 1, 0).unwrap();
        judged(1, 0, 0).unwrap();
    }
}
