//! What `--version` says: the version, and which commit it was built from where that can be known.

use std::{env, path::Path, process::Command};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=TIDEWIRE_COMMIT");
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let said = match commit() {
        Some(commit) => format!("{version} ({commit})"),
        None => version,
    };
    println!("cargo::rustc-env=TIDEWIRE_VERSION={said}");
}

/// As whoever builds says it (an image and a release do: they have no git, or know better), else as git does.
fn commit() -> Option<String> {
    let given = env::var("TIDEWIRE_COMMIT").unwrap_or_default();
    if !given.is_empty() {
        return Some(given);
    }
    // In development a commit would build the binary anew, and say nothing that the folder does not.
    if env::var("PROFILE").as_deref() != Ok("release") {
        return None;
    }
    // A source archive that was unpacked inside another repository is not of that one's commit.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    if !root.join(".git").exists() {
        return None;
    }
    for file in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(
            &root,
            &["rev-parse", "--path-format=absolute", "--git-path", file],
        ) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&root, &["rev-parse", "--short=12", "HEAD"])
}

fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(root)
        .args(arguments)
        .output()
        .ok()?;
    let said = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !said.is_empty()).then_some(said)
}
