//! The form in which PostgreSQL's own programs take a connection: `host=db port=5432 user=me
//! password='…' dbname=tide sslmode=require`.

use super::{account, encoded, host, parameters};

/// Whether a text has this form: it begins with a name and a sign of equality.
pub(super) fn are(text: &str) -> bool {
    text.split_once('=').is_some_and(|(name, _)| {
        let name = name.trim();
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

/// The URL that means the same.
pub(super) fn url(text: &str) -> Result<String, String> {
    let mut place = String::new();
    let [mut user, mut password, mut database, mut port] = [const { String::new() }; 4];
    let mut query = Vec::new();
    for (name, value) in pairs(text)? {
        match name {
            "host" | "hostaddr" => place = value,
            "port" => port = value,
            "user" => user = value,
            "password" => password = value,
            "dbname" | "database" => database = value,
            name => query.push(format!("{name}={}", encoded(&value))),
        }
    }
    if database.is_empty() {
        return Err("names no database: add dbname=…".to_owned());
    }
    let place = match place.as_str() {
        "" => "localhost".to_owned(),
        place => host(place),
    };
    let colon = if port.is_empty() { "" } else { ":" };
    let question = if query.is_empty() { "" } else { "?" };
    parameters::postgres(&format!(
        "postgres://{}{place}{colon}{port}/{}{question}{}",
        account(&user, &password),
        encoded(&database),
        query.join("&")
    ))
}

/// A value with blanks stands in single quotes; a backslash takes the next character as it is.
fn pairs(text: &str) -> Result<Vec<(&str, String)>, String> {
    let mut pairs = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let Some((name, behind)) = rest.split_once('=') else {
            return Err("is not NAME=VALUE … to its end".to_owned());
        };
        let name = name.trim();
        if name.contains(char::is_whitespace) {
            return Err(
                "has a word that is no NAME=VALUE: put quotes around values with blanks".to_owned(),
            );
        }
        let behind = behind.trim_start();
        let (mut letters, quoted) = match behind.strip_prefix('\'') {
            Some(quoted) => (quoted.char_indices(), true),
            None => (behind.char_indices(), false),
        };
        let mut value = String::new();
        loop {
            match letters.next() {
                Some((_, '\\')) => value.extend(letters.next().map(|(_, next)| next)),
                Some((_, '\'')) if quoted => break,
                Some((_, c)) if !quoted && c.is_whitespace() => break,
                Some((_, c)) => value.push(c),
                None if quoted => return Err("has a quote that does not end".to_owned()),
                None => break,
            }
        }
        rest = letters.as_str().trim_start();
        pairs.push((name, value));
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_becomes_a_url() {
        for (text, same) in [
            (
                "host=db port=5433 user=me password=pw dbname=tide sslmode=disable",
                "postgres://me:pw@db:5433/tide?sslmode=disable",
            ),
            ("dbname=tide", "postgres://localhost/tide"),
            (
                r"host=/run/postgresql dbname = 'my tide' user=me password='p\'w \\ @'",
                "postgres://me:p%27w%20%5C%20%40@%2Frun%2Fpostgresql/my%20tide",
            ),
            (
                "host=localhost user=me dbname=tide port=9920 sslmode=disable TimeZone=Asia/Shanghai",
                "postgres://me@localhost:9920/tide?sslmode=disable",
            ),
        ] {
            assert!(are(text), "{text}");
            assert_eq!(url(text).unwrap(), same, "{text}");
        }
        for other in [
            "tidewire.db",
            "postgres://me@db/d?a=b",
            "me:pw@tcp(db)/d?a=b",
        ] {
            assert!(!are(other), "{other}");
        }
    }

    #[test]
    fn what_has_no_like_is_refused() {
        for (text, says) in [
            ("host=db dbname=d service=x", "`service`"),
            ("host=db dbname=d me too=x", "quotes"),
            ("host=db dbname=d tail", "to its end"),
        ] {
            let why = url(text).unwrap_err();
            assert!(why.contains(says), "{why}");
        }
    }
}
