//! `cargo xtask crds`: the definitions of our Kubernetes resources, made of their Rust types, wherever they are deployed
//! from; the test run sees that what is committed is what they make.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::process::{cargo, command, output, root, run, target};

/// Kustomize reads nothing outside its own folder, and a chart nothing outside itself.
const PLACES: [&str; 2] = [
    "deploy/kubernetes/components/operator/crds",
    "deploy/helm/tidewire/files/crds",
];

pub fn run_chore(check_only: bool) -> Result<()> {
    // With the features of the test run, so that nothing is built twice.
    run(cargo()
        .args(["build", "--package", "tidewire-operator"])
        .args(["--all-features", "--examples"]))?;
    if check_only {
        return check();
    }
    for (path, text) in made()? {
        let folder = path.parent().context("it has a folder")?;
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Compare what is committed with what the types make.
pub fn check() -> Result<()> {
    for (path, text) in made()? {
        if fs::read_to_string(&path).unwrap_or_default() != text {
            bail!(
                "{} is not what its Rust types make: run `cargo xtask crds`",
                path.display()
            );
        }
    }
    Ok(())
}

/// By file, in each of the places.
fn made() -> Result<BTreeMap<PathBuf, String>> {
    let program = target()?.join("debug/examples/crds");
    let printed = output(&mut command(&program));
    let printed = printed.with_context(|| format!("{} failed", program.display()))?;
    let mut files = BTreeMap::new();
    for document in printed.split("--- ").skip(1) {
        let (file, text) = document
            .split_once('\n')
            .context("a file's name stands first")?;
        for place in PLACES {
            let text = format!("# Made of the Rust types by `cargo xtask crds`.\n{text}");
            files.insert(root().join(place).join(file), text);
        }
    }
    Ok(files)
}
