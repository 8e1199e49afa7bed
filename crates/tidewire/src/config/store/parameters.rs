//! Parameters of a server's URL: those that mean something here, those of other programs that mean
//! nothing here and may go, and the rest, which is refused.

/// What the connection itself understands.
const POSTGRES: &[&str] = &[
    "pgbouncer",
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "host",
    "hostaddr",
    "port",
    "user",
    "password",
    "dbname",
    "options",
];
/// Pools, time-outs and types of other programs, and what Tidewire sets by itself.
const NOT_OURS_ON_POSTGRES: &[&str] = &[
    "application_name",
    "binary_parameters",
    "client_encoding",
    "connect_timeout",
    "connection_limit",
    "default_query_exec_mode",
    "fallback_application_name",
    "pool_max_conns",
    "pool_min_conns",
    "pool_timeout",
    "statement-cache-capacity",
    "statement_cache_capacity",
    "TimeZone",
    "timezone",
];
const MYSQL: &[&str] = &[
    "ssl-mode", "sslmode", "ssl-ca", "sslca", "ssl-cert", "sslcert", "ssl-key", "sslkey", "socket",
];
const NOT_OURS_ON_MYSQL: &[&str] = &[
    "allowNativePasswords",
    "charset",
    "checkConnLiveness",
    "clientFoundRows",
    "collation",
    "columnsWithAlias",
    "connectionAttributes",
    "interpolateParams",
    "loc",
    "maxAllowedPacket",
    "multiStatements",
    "parseTime",
    "readTimeout",
    "rejectReadOnly",
    "statement-cache-capacity",
    "time-zone",
    "timeTruncate",
    "timeout",
    "timezone",
    "writeTimeout",
];

/// A PostgreSQL URL with what means something here.
pub(super) fn postgres(url: &str) -> Result<String, String> {
    let known = |name: &str| POSTGRES.contains(&name) || name.starts_with("options[");
    with(url, |query| {
        let kept = kept(query, known, NOT_OURS_ON_POSTGRES)?;
        Ok(kept.into_iter().map(str::to_owned).collect())
    })
}

/// A MySQL URL with what means something here.
pub(super) fn mysql(url: &str) -> Result<String, String> {
    if pairs(url.split_once('?').map_or("", |(_, query)| query))
        .any(|pair| pair.starts_with("pgbouncer="))
    {
        return Err("`pgbouncer` is PostgreSQL's: leave it out".to_owned());
    }
    with(url, mysql_pairs)
}

/// The parameters of a MySQL, in the words of its own programs or in those of Go's driver.
pub(super) fn mysql_pairs(query: &str) -> Result<Vec<String>, String> {
    let known = |name: &str| MYSQL.contains(&name) || name == "tls" || name.starts_with("allow");
    let mut translated = Vec::new();
    for pair in kept(query, known, NOT_OURS_ON_MYSQL)? {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match (name, value.to_ascii_lowercase().as_str()) {
            ("tls", value) => translated.push(format!("ssl-mode={}", ssl_mode(value)?)),
            // Weaker ways to sign in, which are off here too.
            (name, "false" | "0") if name.starts_with("allow") => {}
            (name, _) if name.starts_with("allow") => return Err(unknown(name)),
            _ => translated.push(pair.to_owned()),
        }
    }
    Ok(translated)
}

fn ssl_mode(tls: &str) -> Result<&'static str, String> {
    Ok(match tls {
        "true" | "1" => "VERIFY_IDENTITY",
        "skip-verify" => "REQUIRED",
        "preferred" => "PREFERRED",
        "false" | "0" => "DISABLED",
        other => {
            return Err(format!(
                "`tls={other}` names certificates that only the program it was written for has: write a mysql:// URL with ssl-mode=VERIFY_CA and ssl-ca=FILE"
            ));
        }
    })
}

fn with(
    url: &str,
    translate: impl Fn(&str) -> Result<Vec<String>, String>,
) -> Result<String, String> {
    let Some((place, query)) = url.split_once('?') else {
        return Ok(url.to_owned());
    };
    if query.contains('@') {
        return Err("has a `?` before its last `@`: write %3F for one in a password, and %40 for an `@` in a parameter".to_owned());
    }
    let pairs = translate(query)?;
    let question = if pairs.is_empty() { "" } else { "?" };
    Ok(format!("{place}{question}{}", pairs.join("&")))
}

fn pairs(query: &str) -> impl Iterator<Item = &str> {
    query.split('&').filter(|pair| !pair.is_empty())
}

/// Those that are known, without those that may go; an error names one that is neither.
fn kept<'q>(
    query: &'q str,
    known: impl Fn(&str) -> bool,
    may_go: &[&str],
) -> Result<Vec<&'q str>, String> {
    let name = |pair: &'q str| pair.split_once('=').map_or(pair, |(name, _)| name);
    let ours: Vec<_> = pairs(query)
        .filter(|pair| !may_go.contains(&name(pair)))
        .collect();
    match ours.iter().find(|pair| !known(name(pair))) {
        Some(pair) => Err(unknown(name(pair))),
        None => Ok(ours),
    }
}

fn unknown(name: &str) -> String {
    format!(
        "the parameter `{name}` cannot be translated and would be without effect: leave it out (docs/stores.md lists those that have one)"
    )
}
