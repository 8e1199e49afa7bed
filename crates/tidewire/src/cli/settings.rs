//! The settings as flags of `serve`, `migrate` and `config`: made from the one list.

use std::{collections::BTreeMap, path::PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches, value_parser};

use crate::config::{Bad, SETTINGS, Setting, Values};

const CONFIG: &str = "config";

/// The settings given as flags, and the file that was named.
#[derive(Clone, Debug, Default)]
pub(super) struct Flags {
    given: BTreeMap<&'static str, String>,
    file: Option<PathBuf>,
}

impl Flags {
    /// All layers together.
    pub(super) fn values(&self) -> Result<Values, Bad> {
        let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let file = self
            .file
            .clone()
            .or_else(|| variable("TIDEWIRE_CONFIG").map(PathBuf::from));
        Values::gather(&self.given, variable, file.as_deref())
    }
}

/// One that has several values takes them from several flags too.
fn is_list(setting: &Setting) -> bool {
    setting.form.ends_with(",…")
}

fn arg(setting: &'static Setting) -> Arg {
    let mut help = setting.help.to_owned();
    if !setting.default.is_empty() {
        help.push_str(&format!(" [default: {}]", setting.default));
    }
    help.push_str(&format!(" [env: {}]", setting.variable()));
    let arg = Arg::new(setting.name)
        .long(setting.name)
        .value_name(setting.form)
        .help(help);
    if is_list(setting) {
        return arg.action(ArgAction::Append);
    }
    if setting.form == "true|false" {
        // The flag alone says yes.
        return arg
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true");
    }
    arg
}

impl clap::Args for Flags {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new(CONFIG)
            .long(CONFIG)
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help("A TOML file of settings; ./tidewire.toml is read if it exists [env: TIDEWIRE_CONFIG]");
        command.args(SETTINGS.iter().map(arg)).arg(file)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Flags::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for setting in SETTINGS {
            let given = matches.get_many::<String>(setting.name);
            let given: Vec<_> = given.into_iter().flatten().map(String::as_str).collect();
            if !given.is_empty() {
                self.given.insert(setting.name, given.join(","));
            }
        }
        self.file = matches.get_one::<PathBuf>(CONFIG).cloned();
        Ok(())
    }
}
