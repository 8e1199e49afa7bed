//! Shell completions and manual pages, made from the command line itself.

use std::path::PathBuf;

use clap_complete::Shell;

use super::{Fault, output::Printer};

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tidewire completions bash > ~/.local/share/bash-completion/completions/tidewire
  tidewire completions zsh > \"${fpath[1]}/_tidewire\"
  tidewire completions fish > ~/.config/fish/completions/tidewire.fish")]
pub(super) struct Completions {
    shell: Shell,
}

#[derive(clap::Args)]
#[command(after_help = "\
Example:
  tidewire man ~/.local/share/man/man1 && man tidewire-events-import")]
pub(super) struct Man {
    /// Where the pages go; made if it does not exist
    dir: PathBuf,
}

pub(super) fn completions(
    args: &Completions,
    mut command: clap::Command,
    printer: &Printer,
) -> Result<(), Fault> {
    // Into memory first: the generator panics where a pipe is closed.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "tidewire", &mut script);
    printer.bytes(&script)
}

pub(super) fn man(args: &Man, command: clap::Command, printer: &Printer) -> Result<(), Fault> {
    let dir = args.dir.display();
    std::fs::create_dir_all(&args.dir)
        .and_then(|()| clap_mangen::generate_to(command, &args.dir))
        .map_err(|error| {
            Fault::Failed(format!("cannot write manual pages into `{dir}`: {error}"))
        })?;
    if printer.is_json() {
        return printer.json(&serde_json::json!({ "dir": args.dir }));
    }
    printer.line(&format!("the manual pages are in {dir}"))
}
