//! Lists by cursor: `limit` (default 50, at most 500) and an opaque `cursor`.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::Problem;

pub const DEFAULT_LIMIT: u32 = 50;
pub const MAX_LIMIT: u32 = 500;

/// The checked `limit` of a list.
pub fn limit(asked: Option<u32>) -> Result<u32, Problem> {
    match asked {
        None => Ok(DEFAULT_LIMIT),
        Some(n @ 1..=MAX_LIMIT) => Ok(n),
        Some(n) => Err(Problem::invalid(
            "limit",
            format!("must be 1 to {MAX_LIMIT}, it is {n}"),
        )),
    }
}

/// Makes a cursor of a list named `list` that goes on behind `key`.
#[must_use]
pub fn cursor(list: &str, key: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{list}:{key}"))
}

/// The key inside a cursor; a cursor of another list is as wrong as garbage.
pub fn key(list: &str, cursor: &str) -> Result<String, Problem> {
    let wrong = || Problem::invalid("cursor", "is not a `next_cursor` that this list gave out");
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| wrong())?;
    let text = String::from_utf8(bytes).map_err(|_| wrong())?;
    let key = text
        .strip_prefix(list)
        .and_then(|rest| rest.strip_prefix(':'))
        .ok_or_else(wrong)?;
    Ok(key.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_only_to_its_own_list() {
        let made = cursor("events", "42");
        assert_eq!(key("events", &made).unwrap(), "42");
        assert!(key("jobs", &made).is_err());
        assert!(key("events", "§").is_err());
    }

    #[test]
    fn limits_have_bounds() {
        assert_eq!(limit(None).unwrap(), 50);
        assert_eq!(limit(Some(500)).unwrap(), 500);
        assert!(limit(Some(0)).is_err());
        assert!(limit(Some(501)).is_err());
    }
}
