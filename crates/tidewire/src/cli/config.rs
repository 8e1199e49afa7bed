//! `tidewire config`: what holds, whether it makes sense, and what can be set.

use super::{
    Fault,
    output::{Printer, Rows},
    settings::Flags,
};
use crate::config::{Config, Group, OTHER_VARIABLES, SETTINGS, Setting, Variable};

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Print the value of each setting and where it comes from; secrets are masked
    Show(Flags),
    /// Check the settings without starting anything; exit status 64 if one makes no sense
    Check(Flags),
    /// Print every setting as a documented environment file
    Env,
}

pub(super) fn run(args: Args, printer: Printer) -> Result<(), Fault> {
    match args.command {
        Command::Show(flags) => show(&flags, printer),
        Command::Check(flags) => {
            let config = Config::new(&flags.values()?)?;
            printer.line(&format!(
                "the settings are sound: {} on {}, data in {}",
                config.roles,
                config.addr,
                config.store.shown()
            ))
        }
        Command::Env => printer.bytes(env().as_bytes()),
    }
}

fn show(flags: &Flags, printer: Printer) -> Result<(), Fault> {
    let values = flags.values()?;
    let shown = |setting: &Setting| values.text(setting.name).map(|text| setting.shown(text));
    if printer.is_json() {
        let all: serde_json::Map<_, _> = SETTINGS
            .iter()
            .map(|setting| {
                let origin = values.origin(setting.name).map(ToString::to_string);
                let entry = serde_json::json!({ "value": shown(setting), "origin": origin });
                (setting.name.to_owned(), entry)
            })
            .collect();
        return printer.json(&all);
    }
    let mut rows = Rows::new(["SETTING", "VALUE", "FROM"]);
    for setting in SETTINGS {
        let value = shown(setting).unwrap_or_else(|| "-".to_owned());
        let origin = values
            .origin(setting.name)
            .map_or_else(|| "not set".to_owned(), ToString::to_string);
        rows.add([setting.name.to_owned(), value, origin]);
    }
    rows.print(printer)
}

/// The environment file that documents itself. `.env.example` is this text.
pub(super) fn env() -> String {
    let mut text = String::new();
    comment(
        &mut text,
        "Every setting of `tidewire serve`. A flag wins over the environment, the environment over tidewire.toml (the \
         same names, in lower case with dashes, without TIDEWIRE_), and that over the default",
    );
    for setting in SETTINGS {
        text.push('\n');
        comment(&mut text, setting.help);
        if !setting.aliases.is_empty() {
            comment(
                &mut text,
                &format!("Also read from {}", setting.aliases.join(", ")),
            );
        }
        if let Some(group) = setting.group {
            comment(&mut text, &or_from(group));
        }
        let variable = setting.variable();
        text.push_str(&format!("# {variable}: {}\n", setting.form));
        text.push_str(&format!("#{variable}={}\n", setting.default));
    }
    text.push('\n');
    comment(&mut text, "Variables that are no settings of the server");
    for Variable {
        name,
        default,
        help,
    } in OTHER_VARIABLES
    {
        text.push('\n');
        comment(&mut text, help);
        text.push_str(&format!("#{name}={default}\n"));
    }
    text
}

fn or_from(group: &Group) -> String {
    let name = |(name, default): &(&str, &str)| match *default {
        "" => (*name).to_owned(),
        default => format!("{name} ({default})"),
    };
    let all: Vec<_> = group.variables.iter().map(name).collect();
    let first = group.variables.first().map_or("", |(name, _)| name);
    format!("Or, once {first} is set, from {}", all.join(", "))
}

/// One sentence or more, wrapped at 120 columns.
fn comment(text: &mut String, words: &str) {
    let mut width = 0;
    for word in format!("{words}.").split(' ') {
        let length = word.chars().count();
        if width == 0 || width + 1 + length > 120 {
            text.push_str(if width == 0 { "#" } else { "\n#" });
            width = 1;
        }
        text.push(' ');
        text.push_str(word);
        width += 1 + length;
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_in_the_repository_is_what_the_command_prints() {
        let example = include_str!("../../../../.env.example");
        assert!(
            example == env(),
            "`.env.example` is out of date: tidewire config env > .env.example"
        );
    }

    #[test]
    fn every_variable_that_a_command_reads_is_in_the_example() {
        fn read(command: &clap::Command, names: &mut Vec<String>) {
            let set = command.get_arguments().filter_map(clap::Arg::get_env);
            names.extend(set.map(|name| name.to_string_lossy().into_owned()));
            for command in command.get_subcommands() {
                read(command, names);
            }
        }
        let mut names = Vec::new();
        read(&crate::cli::command(), &mut names);
        assert!(names.iter().any(|name| name == "TIDEWIRE_SERVER"));
        let example = env();
        // Who is logged in is nothing to set.
        names.retain(|name| name != "USER" && !example.contains(&format!("\n#{name}=")));
        assert!(names.is_empty(), "add to OTHER_VARIABLES: {names:?}");
    }

    #[test]
    fn the_example_sets_nothing_by_itself() {
        let set = |line: &&str| !line.is_empty() && !line.starts_with('#');
        assert_eq!(env().lines().find(set), None);
    }
}
