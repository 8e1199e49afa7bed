//! Which store: read from a URL before anything opens.

use std::{fmt, path::PathBuf, str::FromStr};

/// A store's address. What a password would be is never printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    /// `sqlite://PATH` (relative or, with a third slash, absolute).
    Sqlite(PathBuf),
}

impl FromStr for StoreUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
        match text.strip_prefix("sqlite://") {
            Some("") => Err(format!(
                "`{text}` names no file: write sqlite://PATH, for example sqlite://tidewire.db"
            )),
            Some(path) if path.contains('?') => Err(format!(
                "`{text}`: a sqlite:// URL takes no parameters, Tidewire sets the pragmas itself"
            )),
            Some(path) => Ok(StoreUrl::Sqlite(PathBuf::from(path))),
            None => Err(format!(
                "the store `{scheme}://…` is not one that this build knows: write sqlite://PATH, for example sqlite://tidewire.db"
            )),
        }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreUrl::Sqlite(path) => write!(f, "sqlite://{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_an_engine_and_a_place() {
        let url: StoreUrl = "sqlite:///var/lib/tidewire.db".parse().unwrap();
        assert_eq!(url, StoreUrl::Sqlite("/var/lib/tidewire.db".into()));
        assert_eq!(url.to_string(), "sqlite:///var/lib/tidewire.db");
        for bad in [
            "",
            "sqlite://",
            "oracle://x",
            "tidewire.db",
            "sqlite://x.db?mode=ro",
        ] {
            assert!(bad.parse::<StoreUrl>().is_err(), "{bad}");
        }
        let secret = "oracle://me:hunter2@host".parse::<StoreUrl>().unwrap_err();
        assert!(!secret.contains("hunter2"), "{secret}");
    }
}
