//! The project's chores, one command each: `cargo xtask test | bench | services | clients | crds | lint-deploy | release | ci`.
//!
//! What a chore runs is written here and nowhere else: the README, the continuous integration and a developer's
//! terminal all say `cargo xtask …`. It needs Rust, git, a C compiler and Python 3, and fetches the rest itself.
#![expect(
    clippy::print_stdout,
    reason = "what a chore has to say goes to the terminal"
)]

mod apt;
mod bench;
mod ci;
mod clients;
mod crds;
mod lint_deploy;
mod linters;
mod metrics;
mod process;
mod release;
mod rules;
mod schemathesis;
mod services;
mod source;
mod steps;
mod test;
mod tools;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's chores", version)]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Install what the tests need, then run them all
    Test {
        /// Add the slow suites, and search the API's description for longer
        #[arg(long)]
        full: bool,
    },
    /// Build the release binary and measure it; everything after `bench` goes to the bench's own program
    #[command(disable_help_flag = true)]
    Bench {
        #[arg(
            value_name = "ARGS",
            trailing_var_arg = true,
            allow_hyphen_values = true
        )]
        arguments: Vec<OsString>,
    },
    /// List the engines that the tests run against, and where they come from
    Services {
        /// Start private servers, print their URLs and keep them until Ctrl-C
        #[arg(long, visible_alias = "up")]
        run: bool,
    },
    /// Make the clients in `clients/` anew of the API's description
    Clients {
        /// Change nothing, and fail if they differ
        #[arg(long)]
        check: bool,
    },
    /// Make the definitions of our Kubernetes resources anew of their Rust types
    Crds {
        /// Change nothing, and fail if they differ
        #[arg(long)]
        check: bool,
    },
    /// Lint what is deployed: the image, Compose, Kubernetes, the chart, alerts, units
    LintDeploy,
    /// Make what is released: an archive, a bill of materials, checksums
    Release {
        /// Also from a tree with changes that no commit has
        #[arg(long)]
        allow_dirty: bool,
    },
    /// Everything that a change must pass: formatting, lints, house rules, dependencies, tests
    Ci,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().chore {
        Chore::Test { full } => test::run(full),
        Chore::Bench { arguments } => bench::run(&arguments),
        Chore::Services { run: true } => services::run(),
        Chore::Services { run: false } => services::list(),
        Chore::LintDeploy => lint_deploy::run_all(),
        Chore::Release { allow_dirty } => release::run_all(allow_dirty),
        Chore::Clients { check } => clients::run_chore(check),
        Chore::Crds { check } => crds::run_chore(check),
        Chore::Ci => ci::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_after_bench_is_the_benchs_own() {
        let typed = ["xtask", "bench", "--only", "appends", "--help"];
        let Chore::Bench { arguments } = Arguments::parse_from(typed).chore else {
            panic!("not the bench");
        };
        assert_eq!(arguments, ["--only", "appends", "--help"]);
    }
}
