//! The alphabets of names that clients give: checked once, at the edge, so the store can trust
//! lengths and characters on every engine.

use crate::Problem;

/// 1–128 characters of `[A-Za-z0-9._:-]`: thread, turn, stream, site, queue and worker names.
pub const ID_MAX: usize = 128;
/// 1–255 characters of the same alphabet: event and job types.
pub const TYPE_MAX: usize = 255;

/// Checks a name against the alphabet `[A-Za-z0-9._:-]` and a length of 1 to `max`.
pub fn check(text: &str, max: usize) -> Result<(), String> {
    if text.is_empty() || text.len() > max {
        return Err(format!(
            "must have 1 to {max} characters, it has {}",
            text.chars().count()
        ));
    }
    match text
        .chars()
        .find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-')))
    {
        Some(bad) => Err(format!(
            "the character {bad:?} is not one of A-Z a-z 0-9 . _ : -"
        )),
        None => Ok(()),
    }
}

/// Checks the names that a list is narrowed by, each with its place in the request and its longest
/// length: what can be no name is told, and not looked for.
pub fn check_filters<const N: usize>(
    filters: [(&str, Option<&str>, usize); N],
) -> Result<(), Problem> {
    for (place, text, max) in filters {
        if let Some(text) = text {
            check(text, max).map_err(|why| Problem::invalid(place, why))?;
        }
    }
    Ok(())
}

/// Checks free text (a subject, a key, a source): no NUL, which no two engines store alike, and
/// 1 to `max` characters.
pub fn check_text(text: &str, max: usize) -> Result<(), String> {
    if text.contains('\0') {
        return Err("must not contain the character NUL (\\u0000)".to_owned());
    }
    let length = text.chars().count();
    if length == 0 || length > max {
        return Err(format!("must have 1 to {max} characters, it has {length}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert!(check("payment.completed:v1_2-x", TYPE_MAX).is_ok());
        for bad in ["", "with space", "ünïcode", "slash/", "nul\0"] {
            assert!(check(bad, TYPE_MAX).is_err(), "{bad:?}");
        }
        assert!(check(&"x".repeat(129), ID_MAX).is_err());
        assert!(check_text("any text, ünïcode too", 64).is_ok());
        assert!(check_text("a\0b", 64).is_err());
    }
}
