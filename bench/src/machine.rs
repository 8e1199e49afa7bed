//! Where and on what the figures were taken.

use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::args::manifest_folder;
use crate::peers::Peer;
use crate::scratch;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Machine {
    pub commit: String,
    pub date: String,
    pub cpu: String,
    pub cores: usize,
    pub memory_gib: f64,
    pub kernel: String,
    /// Of the data folders.
    pub filesystem: String,
    pub versions: Vec<String>,
}

impl Machine {
    /// `store` is the engine under everybody, with its version.
    pub fn look(tidewire: &Path, store: String, peers: &[Peer]) -> Self {
        let memory = line_of("/proc/meminfo", "MemTotal").unwrap_or_default();
        let kib: f64 = memory
            .split_ascii_whitespace()
            .next()
            .and_then(|kib| kib.parse().ok())
            .unwrap_or(0.0);
        let mut versions = vec![
            said(Command::new(tidewire).arg("--version"))
                .unwrap_or_else(|| "tidewire: not built".to_owned()),
            store,
        ];
        versions.extend(said(Command::new("rustc").arg("--version")));
        versions.extend(peers.iter().copied().map(Peer::name));
        Self {
            commit: commit(),
            date: chrono::Utc::now().format("%Y-%m-%d %H:%M UTC").to_string(),
            cpu: line_of("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned()),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            memory_gib: (kib / 1_048_576.0 * 10.0).round() / 10.0,
            kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")
                .unwrap_or_default()
                .trim()
                .to_owned(),
            filesystem: filesystem().unwrap_or_else(|| "unknown".to_owned()),
            versions,
        }
    }
}

fn commit() -> String {
    let git = |args: &[&str]| {
        said(
            Command::new("git")
                .current_dir(manifest_folder())
                .args(args),
        )
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else {
        return "no commit".to_owned();
    };
    // The run itself rewrites the docs; anything else uncommitted makes the commit's name a half-truth.
    let changed = git(&[
        "status",
        "--porcelain",
        "--untracked-files=no",
        "--",
        ":/",
        ":!/docs/benchmarks*",
    ]);
    if changed.is_none_or(|lines| lines.is_empty()) {
        commit
    } else {
        format!("{commit} with local changes")
    }
}

fn said(command: &mut Command) -> Option<String> {
    let output = command
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn line_of(file: &str, key: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The type of the mount that the data folders lie on: the longest mount point that is a prefix of them.
fn filesystem() -> Option<String> {
    let root = scratch::root().ok()?.canonicalize().ok()?;
    let mounts = std::fs::read_to_string("/proc/mounts").ok()?;
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        Some((fields.next()?, fields.next()?))
    });
    let holding = mounts.filter(|(point, _)| root.starts_with(point));
    holding
        .max_by_key(|(point, _)| point.len())
        .map(|(_, kind)| kind.to_owned())
}
