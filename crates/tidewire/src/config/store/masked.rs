//! A store's address without its password, whatever form it has, and even if it has none: what is
//! wrong with it may be a mistyped password.

const STARS: &str = "***";

/// The text with stars for what may be a password.
#[must_use]
pub fn masked(text: &str) -> String {
    // In Go's form a password that begins with `//` makes the user look like a scheme.
    let is_go = text.contains("@tcp(") || text.contains("@unix(");
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, _)) if !is_go && super::scheme(text).is_some() => {
            text.split_at(scheme.len() + 3)
        }
        _ => ("", text),
    };
    format!("{scheme}{}", without_parameters(&without_account(rest)))
}

/// Up to the last `@`, because a password may hold one that nobody encoded.
fn without_account(rest: &str) -> String {
    if let Some(at) = rest.rfind('@') {
        return match rest[..at].find(':') {
            Some(colon) => format!("{}{STARS}{}", &rest[..=colon], &rest[at..]),
            None => rest.to_owned(),
        };
    }
    // `postgres://me:secret/db`, where the host was forgotten.
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (place, path) = rest.split_at(end);
    match place.split_once(':') {
        Some((host, port))
            if !host.starts_with('[') && !port.chars().all(|c| c.is_ascii_digit()) =>
        {
            format!("{host}:{STARS}{path}")
        }
        _ => rest.to_owned(),
    }
}

/// `password=…`, as a parameter of a URL or one of PostgreSQL's pairs.
fn without_parameters(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((start, end)) = password(rest) {
        shown.push_str(&rest[..start]);
        shown.push_str(STARS);
        rest = &rest[end..];
    }
    shown + rest
}

/// Where the next password's value begins and ends.
fn password(text: &str) -> Option<(usize, usize)> {
    let lower = text.to_ascii_lowercase();
    let start = ["password", "passwd", "pwd"]
        .iter()
        .filter_map(|name| {
            let at = lower.find(name)? + name.len();
            let sign = text[at..].find(|c: char| !c.is_whitespace())? + at;
            let value = text[sign..].strip_prefix('=')?;
            let blank = value.len() - value.trim_start().len();
            Some(sign + 1 + blank)
        })
        .min()?;
    let value = &text[start..];
    let end = match value.strip_prefix('\'') {
        Some(quoted) => {
            let mut escaped = false;
            let close = quoted.find(|c| {
                let closes = c == '\'' && !escaped;
                escaped = c == '\\' && !escaped;
                closes
            });
            close.map_or(value.len(), |close| close + 2)
        }
        None => value
            .find(|c: char| c == '&' || c.is_whitespace())
            .unwrap_or(value.len()),
    };
    Some((start, start + end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stars_stand_for_the_password() {
        for (text, shown) in [
            (
                "postgres://me:hunter2@db:5432/d",
                "postgres://me:***@db:5432/d",
            ),
            ("postgres://me:hun@ter2@db/d", "postgres://me:***@db/d"),
            ("mysql://me:hun/ter?2@db/d", "mysql://me:***@db/d"),
            ("postgres://me@db:5432/d", "postgres://me@db:5432/d"),
            ("postgres://me:hunter2/d", "postgres://me:***/d"),
            ("postgres://[::1]:5432/d", "postgres://[::1]:5432/d"),
            ("postgres:/me:hunter2@db/d", "postgres:***@db/d"),
            (
                "postgres://db/d?user=me&password=hunter2&sslmode=disable",
                "postgres://db/d?user=me&password=***&sslmode=disable",
            ),
            (
                "me:hunter2@tcp(db:3306)/d?tls=true",
                "me:***@tcp(db:3306)/d?tls=true",
            ),
            ("me://hunter2@tcp(db)/d", "me:***@tcp(db)/d"),
            (
                "host=db password=hunter2 user=me",
                "host=db password=*** user=me",
            ),
            (
                r"host=db password = 'hun \' ter2' user=me",
                "host=db password = *** user=me",
            ),
            ("Server=db;Pwd=hunter2", "Server=db;Pwd=***"),
            ("sqlite://tidewire.db", "sqlite://tidewire.db"),
            ("tidewire.db", "tidewire.db"),
            ("", ""),
        ] {
            assert_eq!(masked(text), shown, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_password_of_any_form_is_shown(password in "[!-~]{12,24}", form in 0..4usize) {
            let encoded = super::super::encoded(&password);
            let text = match form {
                0 => format!("postgres://me:{password}@db:5432/d?sslmode=disable"),
                1 => format!("mysql://me:{encoded}@db/d"),
                2 => format!("me:{password}@tcp(db:3306)/d?parseTime=true"),
                _ => format!("host=db password='{}' dbname=d", password.replace('\\', r"\\").replace('\'', r"\'")),
            };
            let shown = masked(&text);
            prop_assert!(!shown.contains(&password) && !shown.contains(&encoded), "{shown}");
            // Nor a part of it.
            let most = password.chars().filter(char::is_ascii_alphanumeric).count() == password.len();
            prop_assert!(!most || !shown.contains(&password[..6]), "{shown}");
        }

        #[test]
        fn any_text_can_be_masked(text in ".{0,60}") {
            prop_assert!(masked(&text).len() <= text.len() + STARS.len() * 20);
        }
    }
}
