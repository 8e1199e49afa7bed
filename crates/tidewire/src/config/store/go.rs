//! The form in which Go programs name a MySQL: `user:password@tcp(host:3306)/database?parameters`,
//! nothing in it but the parameters encoded. Read as their driver reads it: the database begins
//! behind the last slash, the address behind the last `@` before it.

use super::{account, encoded, host, parameters};

struct Parts<'t> {
    user: &'t str,
    password: &'t str,
    protocol: &'t str,
    address: &'t str,
    database: &'t str,
    query: &'t str,
}

fn parts(text: &str) -> Option<Parts<'_>> {
    let (left, right) = text.rsplit_once('/')?;
    let (database, query) = right.split_once('?').unwrap_or((right, ""));
    let (account, place) = left.rsplit_once('@').unwrap_or(("", left));
    let (user, password) = account.split_once(':').unwrap_or((account, ""));
    let (protocol, address) = match place.split_once('(') {
        Some((protocol, rest)) => (protocol, rest.strip_suffix(')')?),
        None => (place, ""),
    };
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+');
    (protocol.chars().all(is_word) && (left.contains('@') || !address.is_empty())).then_some(
        Parts {
            user,
            password,
            protocol,
            address,
            database,
            query,
        },
    )
}

/// Whether a text has this form.
pub(super) fn is(text: &str) -> bool {
    parts(text).is_some()
}

/// The URL that means the same.
pub(super) fn url(text: &str) -> Result<String, String> {
    const PORT: &str = "3306";
    let Some(parts) = parts(text) else {
        return Err("is not USER:PASSWORD@tcp(HOST:PORT)/DATABASE".to_owned());
    };
    let mut query = parameters::mysql_pairs(parts.query)?;
    let place = match parts.protocol {
        "" | "tcp" if parts.address.is_empty() => format!("127.0.0.1:{PORT}"),
        "" | "tcp" => match parts.address.rsplit_once(':') {
            Some((name, port)) if !port.contains(']') => format!("{}:{port}", host(name)),
            _ => format!("{}:{PORT}", host(parts.address)),
        },
        "unix" => {
            query.push(format!("socket={}", encoded(parts.address)));
            "localhost".to_owned()
        }
        other => {
            return Err(format!(
                "`{other}` is a way to connect that only the program it was written for has: write tcp(HOST:PORT) or unix(PATH)"
            ));
        }
    };
    let account = account(parts.user, parts.password);
    let question = if query.is_empty() { "" } else { "?" };
    Ok(format!(
        "mysql://{account}{place}/{}{question}{}",
        // It may be encoded already.
        encoded(parts.database).replace("%25", "%"),
        query.join("&")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_becomes_a_url() {
        for (text, same) in [
            ("me:pw@tcp(db:3307)/tide", "mysql://me:pw@db:3307/tide"),
            (
                "me:pw@tcp(db)/tide?charset=utf8mb4&parseTime=True&loc=Local",
                "mysql://me:pw@db:3306/tide",
            ),
            (
                "me:p@:/w%@tcp(db:1)/tide",
                "mysql://me:p%40%3A%2Fw%25@db:1/tide",
            ),
            ("me@/tide", "mysql://me@127.0.0.1:3306/tide"),
            ("tcp(db:3306)/tide", "mysql://db:3306/tide"),
            ("me@tcp([::1]:3306)/tide", "mysql://me@[::1]:3306/tide"),
            ("me@tcp([::1])/tide", "mysql://me@[::1]:3306/tide"),
            (
                "me@unix(/run/mysqld/mysqld.sock)/tide",
                "mysql://me@localhost/tide?socket=%2Frun%2Fmysqld%2Fmysqld.sock",
            ),
            (
                "me@tcp(db)/tide?tls=true",
                "mysql://me@db:3306/tide?ssl-mode=VERIFY_IDENTITY",
            ),
            (
                "me@tcp(db)/tide?tls=skip-verify",
                "mysql://me@db:3306/tide?ssl-mode=REQUIRED",
            ),
            (
                "me@tcp(db)/tide?tls=preferred",
                "mysql://me@db:3306/tide?ssl-mode=PREFERRED",
            ),
            (
                "me@tcp(db)/tide?tls=false",
                "mysql://me@db:3306/tide?ssl-mode=DISABLED",
            ),
        ] {
            assert!(is(text), "{text}");
            assert_eq!(url(text).unwrap(), same, "{text}");
        }
        for other in [
            "tidewire.db",
            "./data/tidewire.db",
            "host=db dbname=d",
            "db:3306",
        ] {
            assert!(!is(other), "{other}");
        }
    }

    #[test]
    fn what_has_no_like_is_refused() {
        for (text, says) in [
            ("me@tcp(db)/d?tls=custom", "tls=custom"),
            ("me@tcp(db)/d?allowOldPasswords=true", "allowOldPasswords"),
            ("me@tcp(db)/d?sql_mode=ANSI", "sql_mode"),
            ("me@ssh(db)/d", "`ssh`"),
        ] {
            let why = url(text).unwrap_err();
            assert!(why.contains(says), "{why}");
        }
    }
}
