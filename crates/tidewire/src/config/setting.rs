//! What a setting is.

use super::{settings::SETTINGS, store::masked};

/// One setting: the flag `--name`, the variable `TIDEWIRE_NAME`, and `name` in `tidewire.toml`.
#[derive(Debug)]
pub struct Setting {
    pub name: &'static str,
    /// The form of its value.
    pub form: &'static str,
    /// What holds if it is not set; empty if that depends.
    pub default: &'static str,
    pub sight: Sight,
    /// Variables of other names that are read where the `TIDEWIRE_` one is not set.
    pub aliases: &'static [&'static str],
    /// Variables that are read together where none of those is set.
    pub group: Option<&'static Group>,
    pub help: &'static str,
}

/// What `config show` and errors show of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    All,
    /// All but the password in it.
    NoPassword,
    /// Nothing.
    Nothing,
}

/// Variables that stand for one setting together, once the first of them is set.
#[derive(Debug)]
pub struct Group {
    /// Their names, and what holds where one is not set.
    pub variables: &'static [(&'static str, &'static str)],
    /// Makes the setting's value of theirs.
    pub join: fn(&[String]) -> String,
}

impl Setting {
    /// The value as it may be shown.
    #[must_use]
    pub fn shown(&self, text: &str) -> String {
        match self.sight {
            Sight::All => text.to_owned(),
            Sight::NoPassword => masked(text),
            Sight::Nothing => "********".to_owned(),
        }
    }

    #[must_use]
    pub fn variable(&self) -> String {
        format!(
            "TIDEWIRE_{}",
            self.name.to_ascii_uppercase().replace('-', "_")
        )
    }

    #[must_use]
    pub fn named(name: &str) -> Option<&'static Setting> {
        SETTINGS.iter().find(|setting| setting.name == name)
    }
}

pub(super) const fn setting(
    name: &'static str,
    form: &'static str,
    default: &'static str,
    help: &'static str,
) -> Setting {
    Setting {
        name,
        form,
        default,
        sight: Sight::All,
        aliases: &[],
        group: None,
        help,
    }
}

pub(super) const fn secret(setting: Setting) -> Setting {
    Setting {
        sight: Sight::Nothing,
        ..setting
    }
}

/// A setting whose value may hold a password among other things.
pub(super) const fn address(setting: Setting) -> Setting {
    Setting {
        sight: Sight::NoPassword,
        ..setting
    }
}

pub(super) const fn also(aliases: &'static [&'static str], setting: Setting) -> Setting {
    Setting { aliases, ..setting }
}

pub(super) const fn or(group: &'static Group, setting: Setting) -> Setting {
    Setting {
        group: Some(group),
        ..setting
    }
}
