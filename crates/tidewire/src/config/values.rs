//! Where each value comes from.

use std::{collections::BTreeMap, fmt, path::Path};

use super::{OTHER_VARIABLES, SETTINGS, Setting, Sight};

/// The file that is read where no other is named, if it exists.
const FILE: &str = "tidewire.toml";

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Flag,
    Variable(String),
    File(String),
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag => f.write_str("flag"),
            Origin::Variable(name) => write!(f, "environment: {name}"),
            Origin::File(path) => write!(f, "file: {path}"),
            Origin::Default => f.write_str("default"),
        }
    }
}

/// How near to the process a layer is: the nearest is the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Nearness {
    Flag,
    OwnVariable,
    OtherVariable,
    File,
    Default,
}

/// A setting that makes no sense: which, its value, what would do. One line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Bad(pub String);

/// The text of each setting that has one.
#[derive(Clone, Debug, Default)]
pub struct Values {
    values: BTreeMap<&'static str, (String, Origin)>,
}

impl Values {
    /// Puts the layers together. `flags` are those given on the command line; `variable` reads the
    /// environment; `file` is the configuration file that was named, if one was.
    pub fn gather(
        flags: &BTreeMap<&'static str, String>,
        variable: impl Fn(&str) -> Option<String>,
        file: Option<&Path>,
    ) -> Result<Self, Bad> {
        let from_file = read_file(file)?;
        let mut values = Values::default();
        for setting in SETTINGS {
            let found = flags
                .get(setting.name)
                .map(|text| (text.clone(), Origin::Flag))
                .or_else(|| from_environment(setting, &variable))
                .or_else(|| from_file.get(setting.name).cloned())
                .or_else(|| {
                    (!setting.default.is_empty())
                        .then(|| (setting.default.to_owned(), Origin::Default))
                });
            if let Some(found) = found {
                values.values.insert(setting.name, found);
            }
        }
        // The source designs say `production`, and mean logs for machines.
        let is_default = |name| values.origin(name) == Some(&Origin::Default);
        if is_default("log-format") && variable("ENVIRONMENT").as_deref() == Some("production") {
            let origin = Origin::Variable("ENVIRONMENT".to_owned());
            values
                .values
                .insert("log-format", ("json".to_owned(), origin));
        }
        Ok(values)
    }

    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|(text, _)| text.as_str())
    }

    #[must_use]
    pub fn origin(&self, name: &str) -> Option<&Origin> {
        self.values.get(name).map(|(_, origin)| origin)
    }

    pub(super) fn nearness(&self, name: &str) -> Option<Nearness> {
        Some(match self.origin(name)? {
            Origin::Flag => Nearness::Flag,
            Origin::Variable(name) if name.starts_with("TIDEWIRE_") => Nearness::OwnVariable,
            Origin::Variable(_) => Nearness::OtherVariable,
            Origin::File(_) => Nearness::File,
            Origin::Default => Nearness::Default,
        })
    }

    /// Reads a setting with `parse`; the error says which setting, from where, and what would do.
    pub fn read<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Bad> {
        let Some((text, origin)) = self.values.get(name) else {
            return Ok(None);
        };
        parse(text).map(Some).map_err(|why| {
            let shown = match Setting::named(name) {
                Some(setting) if setting.sight != Sight::Nothing => {
                    format!(" `{}`", setting.shown(text))
                }
                _ => String::new(),
            };
            Bad(format!("--{name}{shown} ({origin}): {why}"))
        })
    }
}

/// Variables that look like ours and are none: a misspelt one would be silently without effect.
pub fn unknown_variables(names: impl Iterator<Item = String>) -> Vec<String> {
    names
        .filter(|name| name.starts_with("TIDEWIRE_") && !name.starts_with("TIDEWIRE_TEST_"))
        .filter(|name| !OTHER_VARIABLES.iter().any(|other| other.name == name))
        .filter(|name| !SETTINGS.iter().any(|setting| setting.variable() == *name))
        .collect()
}

/// A variable that is set to nothing is one that is not set: compose files do that.
fn from_environment(
    setting: &Setting,
    variable: &impl Fn(&str) -> Option<String>,
) -> Option<(String, Origin)> {
    let filled = |name: &str| variable(name).filter(|text| !text.is_empty());
    std::iter::once(setting.variable())
        .chain(setting.aliases.iter().map(|alias| (*alias).to_owned()))
        .find_map(|name| Some((filled(&name)?, Origin::Variable(name))))
        .or_else(|| {
            let group = setting.group?;
            let (first, _) = group.variables.first()?;
            filled(first)?;
            let values: Vec<_> = group
                .variables
                .iter()
                .map(|(name, default)| filled(name).unwrap_or_else(|| (*default).to_owned()))
                .collect();
            Some(((group.join)(&values), Origin::Variable((*first).to_owned())))
        })
}

fn read_file(named: Option<&Path>) -> Result<BTreeMap<String, (String, Origin)>, Bad> {
    let path = named.unwrap_or(Path::new(FILE));
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(BTreeMap::new());
        }
        Err(error) => {
            return Err(Bad(format!(
                "--config `{}`: cannot be read: {error}",
                path.display()
            )));
        }
    };
    let shown = path.display().to_string();
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        Bad(format!(
            "`{shown}` is not TOML: {}",
            error.to_string().replace('\n', " ")
        ))
    })?;
    table
        .into_iter()
        .map(|(key, value)| {
            let name = key.replace('_', "-");
            if Setting::named(&name).is_none() {
                return Err(Bad(format!(
                    "`{key}` in `{shown}` is not a setting: `tidewire config env` lists them"
                )));
            }
            let text = plain(&value).ok_or_else(|| {
                Bad(format!(
                    "`{key}` in `{shown}` must be a text, a number or a list of these"
                ))
            })?;
            Ok((name, (text, Origin::File(shown.clone()))))
        })
        .collect()
}

fn plain(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(n) => Some(n.to_string()),
        toml::Value::Boolean(yes) => Some(yes.to_string()),
        toml::Value::Array(all) => {
            Some(all.iter().map(plain).collect::<Option<Vec<_>>>()?.join(","))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gather(
        flags: &[(&'static str, &str)],
        variables: &[(&str, &str)],
        file: Option<&str>,
    ) -> Result<Values, Bad> {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("tidewire.toml");
        std::fs::write(&path, file.unwrap_or_default()).unwrap();
        let flags = flags
            .iter()
            .map(|(name, text)| (*name, (*text).to_owned()))
            .collect();
        let variable = |asked: &str| {
            variables
                .iter()
                .find(|(name, _)| *name == asked)
                .map(|(_, text)| (*text).to_owned())
        };
        Values::gather(&flags, variable, Some(&path))
    }

    #[test]
    fn the_nearer_layer_wins() {
        let file =
            Some("addr = \":1\"\nlease = \"10s\"\nlog_level = \"debug\"\nworker-concurrency = 3");
        let values = gather(
            &[("addr", ":3")],
            &[("TIDEWIRE_ADDR", ":2"), ("TIDEWIRE_LEASE", "20s")],
            file,
        )
        .unwrap();
        assert_eq!(values.text("addr"), Some(":3"));
        assert_eq!(values.text("lease"), Some("20s"));
        assert_eq!(values.text("log-level"), Some("debug"));
        assert_eq!(values.text("worker-concurrency"), Some("3"));
        assert_eq!(values.text("drain"), Some("30s"));
        assert_eq!(values.origin("drain"), Some(&Origin::Default));
    }

    #[test]
    fn other_designs_variables_are_read_where_ours_are_not_set() {
        let values = gather(
            &[],
            &[
                ("PORT", "9000"),
                ("LOG_LEVEL", "warn"),
                ("TIDEWIRE_LOG_LEVEL", ""),
                ("ENVIRONMENT", "production"),
            ],
            None,
        )
        .unwrap();
        assert_eq!(values.text("addr"), Some("9000"));
        assert_eq!(values.text("log-level"), Some("warn"));
        assert_eq!(values.text("log-format"), Some("json"));
        let ours = gather(
            &[],
            &[
                ("PORT", "9000"),
                ("TIDEWIRE_ADDR", ":1"),
                ("ENVIRONMENT", "production"),
                ("TIDEWIRE_LOG_FORMAT", "pretty"),
            ],
            None,
        )
        .unwrap();
        assert_eq!(
            (ours.text("addr"), ours.text("log-format")),
            (Some(":1"), Some("pretty"))
        );
    }

    #[test]
    fn variables_that_stand_for_a_setting_together_count_once_the_first_is_set() {
        let url = |variables: &[(&str, &str)]| {
            let values = gather(&[], variables, None).unwrap();
            values.text("database-url").map(str::to_owned)
        };
        let [server, port, password] = [
            ("POSTGRES_SERVER", "db"),
            ("POSTGRES_PORT", "5432"),
            ("POSTGRES_PASSWORD", "hunter2"),
        ];
        assert_eq!(url(&[port, password]), None);
        assert_eq!(url(&[("POSTGRES_SERVER", ""), port]), None);
        assert_eq!(
            url(&[server]).unwrap(),
            "postgres://eventide@db:5433/eventide"
        );
        assert_eq!(
            url(&[server, port, password]).unwrap(),
            "postgres://eventide:hunter2@db:5432/eventide"
        );
        let nearer = ("DATABASE_URL", "mysql://me@db/tide");
        assert_eq!(url(&[server, nearer]).unwrap(), nearer.1);
    }

    #[test]
    fn a_file_that_says_nonsense_is_refused() {
        for (file, says) in [
            ("adr = ':1'", "`adr`"),
            ("addr = {}", "`addr`"),
            ("addr", "not TOML"),
        ] {
            let bad = gather(&[], &[], Some(file)).unwrap_err().to_string();
            assert!(bad.contains(says) && !bad.contains('\n'), "{bad}");
        }
    }

    #[test]
    fn a_misspelt_variable_is_found() {
        let names = [
            "TIDEWIRE_ADRR",
            "TIDEWIRE_ADDR",
            "TIDEWIRE_SERVER",
            "TIDEWIRE_TEST_FULL",
            "PATH",
        ];
        assert_eq!(
            unknown_variables(names.into_iter().map(str::to_owned)),
            ["TIDEWIRE_ADRR"]
        );
    }
}
