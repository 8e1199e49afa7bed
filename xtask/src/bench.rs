//! `cargo xtask bench`: the release binary, then the bench, which is a workspace of its own.

use std::ffi::OsString;

use anyhow::Result;

use crate::process::{self, cargo};

pub fn run(arguments: &[OsString]) -> Result<()> {
    process::run(cargo().args(["build", "--release", "--package", "tidewire"]))?;
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
