//! Data folders of what is measured. They lie under the build folder and not under `/tmp`, which may be memory: a
//! figure with fsync in it must pay for a disk.

use std::fs::File;
use std::path::PathBuf;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::args::manifest_folder;

pub fn root() -> Result<PathBuf> {
    let root = manifest_folder().join("target/run");
    std::fs::create_dir_all(&root).with_context(|| format!("create {}", root.display()))?;
    Ok(root)
}

/// A folder that goes away with its last user.
pub fn folder(of: &str) -> Result<TempDir> {
    tempfile::Builder::new()
        .prefix(&format!("{of}-"))
        .tempdir_in(root()?)
        .context("create a data folder")
}

/// Writes out what earlier contenders left dirty, so that nobody pays for another's pages.
pub fn settle() -> Result<()> {
    let root = root()?;
    rustix::fs::syncfs(File::open(&root)?).with_context(|| format!("sync {}", root.display()))
}
