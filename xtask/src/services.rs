//! `cargo xtask services`: what the tests run against, and where each of it comes from.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::process::{cargo, output};

pub fn run() -> Result<()> {
    let version = sqlite_version()?;
    println!("{:8}  {:10}  from", "engine", "version");
    println!(
        "{:8}  {version:10}  in the binary (crate libsqlite3-sys); a file in a temporary folder for each test",
        "SQLite"
    );
    println!("\nno other engine is used yet, and nothing has to be started");
    Ok(())
}

/// The version in the C source that the workspace's lock file brings in.
fn sqlite_version() -> Result<String> {
    let metadata = output(cargo().args(["metadata", "--format-version", "1", "--locked"]))
        .context("cargo metadata failed: run it to see why")?;
    let manifest = manifest_of(&metadata, "libsqlite3-sys").context(
        "libsqlite3-sys is not among the dependencies any more: this list is out of date",
    )?;
    let header = Path::new(manifest).with_file_name("sqlite3/sqlite3.h");
    let text =
        fs::read_to_string(&header).with_context(|| format!("cannot read {}", header.display()))?;
    text.lines()
        .find_map(|line| line.strip_prefix("#define SQLITE_VERSION "))
        .map(|version| version.trim().trim_matches('"').to_owned())
        .with_context(|| format!("no SQLITE_VERSION in {}", header.display()))
}

/// Found by its text: one path out of a known document is no reason for a JSON parser here.
fn manifest_of<'a>(metadata: &'a str, package: &str) -> Option<&'a str> {
    let folder = format!("/{package}-");
    metadata
        .split("\"manifest_path\":\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .find(|path| path.contains(&folder))
}
