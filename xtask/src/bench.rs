//! `cargo xtask bench`: the binary as it is given away, then the bench, which is a workspace of its own. Its limits
//! are built in the same way: a ratio must not be one of compilers' settings.

use std::ffi::OsString;

use anyhow::Result;

use crate::{
    process::{self, cargo},
    release::PROFILE,
};

pub fn run(arguments: &[OsString]) -> Result<()> {
    // With what an operator of Pods needs; nothing else in it changes by that.
    process::run(
        cargo()
            .args(["build", "--profile", PROFILE, "--package", "tidewire"])
            .args(["--features", "kubernetes"]),
    )?;
    process::run(
        cargo()
            .args([
                "run",
                "--release",
                "--manifest-path",
                "bench/Cargo.toml",
                "--",
            ])
            .args(arguments),
    )
}
