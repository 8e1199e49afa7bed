//! Data folders of what is measured. They lie under the build folder and not under `/tmp`, which may be memory: a
//! figure with fsync in it must pay for a disk.
//!
//! A folder that nobody uses any more is not removed at once. Freeing a gigabyte keeps the disk busy for seconds (it
//! discards the blocks), and the next contender would pay for it; so folders are removed between rounds, and the next
//! round waits until the disk is calm.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::args::manifest_folder;
use crate::calibrate;

const CALM_WITHIN: Duration = Duration::from_secs(15);
/// Two looks at fsync that differ by less than this are calm.
const CALM: f64 = 1.10;

static LEFT_BEHIND: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A fresh folder; gone some time after its last user.
pub struct Folder(PathBuf);

impl Folder {
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let mut left = LEFT_BEHIND.lock().unwrap_or_else(PoisonError::into_inner);
        left.push(std::mem::take(&mut self.0));
    }
}

/// Where this run keeps its data: a folder by its process id, so that two runs do not clear each other's.
pub fn root() -> Result<PathBuf> {
    let root = runs().join(std::process::id().to_string());
    std::fs::create_dir_all(&root).with_context(|| format!("create {}", root.display()))?;
    Ok(root)
}

pub fn folder(of: &str) -> Result<Folder> {
    let folder = tempfile::Builder::new()
        .prefix(&format!("{of}-"))
        .tempdir_in(root()?);
    Ok(Folder(folder.context("create a data folder")?.keep()))
}

/// Removes what is left behind, also by runs that were killed, and waits for the disk.
pub fn clear() -> Result<()> {
    let left = std::mem::take(&mut *LEFT_BEHIND.lock().unwrap_or_else(PoisonError::into_inner));
    let left: Vec<PathBuf> = left.into_iter().chain(of_the_dead()?).collect();
    if left.is_empty() {
        return Ok(());
    }
    for folder in left {
        std::fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))?;
    }
    settle()?;
    let root = root()?;
    let (deadline, mut before) = (Instant::now() + CALM_WITHIN, f64::MAX);
    while Instant::now() < deadline {
        let now = calibrate::fsync(&root)?;
        if before.max(now) / before.min(now) < CALM {
            break;
        }
        before = now;
    }
    Ok(())
}

/// Clears, and leaves nothing of this run.
pub fn remove() -> Result<()> {
    clear()?;
    let root = root()?;
    std::fs::remove_dir_all(&root).with_context(|| format!("remove {}", root.display()))
}

/// Writes out what earlier contenders left dirty, so that nobody pays for another's pages.
pub fn settle() -> Result<()> {
    let root = root()?;
    rustix::fs::syncfs(File::open(&root)?).with_context(|| format!("sync {}", root.display()))
}

fn runs() -> PathBuf {
    manifest_folder().join("target/run")
}

fn of_the_dead() -> Result<Vec<PathBuf>> {
    let runs = runs();
    std::fs::create_dir_all(&runs).with_context(|| format!("create {}", runs.display()))?;
    let mut dead = Vec::new();
    for entry in std::fs::read_dir(&runs)? {
        let entry = entry?;
        if !Path::new("/proc").join(entry.file_name()).exists() {
            dead.push(entry.path());
        }
    }
    Ok(dead)
}
