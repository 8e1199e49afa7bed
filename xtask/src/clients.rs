//! `cargo xtask clients`: the clients in `clients/` are made of the API's description, by generators of a fixed version;
//! the test run sees that what is committed is what they make (docs/adr/0009). What they make is this, below `clients/`:
//!
//! - `python/src/tidewire/{api,models,types.py}`, by openapi-python-client with the settings and templates in
//!   `xtask/clients`;
//! - `typescript/src/api.gen.ts`, by openapi-typescript.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::process::{cargo, command, root, run, target};
use crate::tools;

/// What is generated as one, relative to `clients/`.
const MADE: [&str; 4] = [
    "python/src/tidewire/api",
    "python/src/tidewire/models",
    "python/src/tidewire/types.py",
    "typescript/src/api.gen.ts",
];

/// Make them anew.
pub fn run_chore(check_only: bool) -> Result<()> {
    // With the features of the test run, so that nothing is built twice.
    tools::kafka_client()?;
    run(cargo().args(["build", "--package", "tidewire", "--all-features"]))?;
    if check_only {
        return check();
    }
    let made = generate()?;
    let home = root().join("clients");
    for part in MADE {
        let (new, old) = (made.join(part), home.join(part));
        remove(&old)?;
        copy(&new, &old)?;
    }
    Ok(())
}

/// Compare what is committed with what the binary's description gives.
pub fn check() -> Result<()> {
    let (made, home) = (generate()?, root().join("clients"));
    let mut differ = Vec::new();
    for part in MADE {
        let (new, old) = (
            contents(&made.join(part))?,
            contents(&home.join(part)).unwrap_or_default(),
        );
        let files: BTreeSet<_> = new.keys().chain(old.keys()).collect();
        differ.extend(
            files
                .into_iter()
                .filter(|file| new.get(*file) != old.get(*file))
                .map(|file| format!("clients/{part}/{}", file.display())),
        );
    }
    if let Some(first) = differ.first() {
        bail!(
            "{} generated files of the clients differ from the API's description, such as {}: run `cargo xtask clients`",
            differ.len(),
            first.trim_end_matches('/')
        );
    }
    Ok(())
}

/// All of it, in a folder below the target folder.
fn generate() -> Result<PathBuf> {
    let (environment, node) = (tools::clients_python()?, tools::clients_node()?);
    let folder = target()?.join("clients");
    remove(&folder)?;
    let python = folder.join("python/src");
    fs::create_dir_all(&python).with_context(|| format!("cannot make {}", python.display()))?;

    let document = folder.join("openapi.json");
    let described = command(target()?.join("debug/tidewire"))
        .arg("openapi")
        .output()
        .context("cannot start target/debug/tidewire")?;
    if !described.status.success() {
        bail!("`tidewire openapi` ended with {}", described.status);
    }
    fs::write(&document, described.stdout)
        .with_context(|| format!("cannot write {}", document.display()))?;

    let settings = root().join("xtask/clients");
    let programs = environment.join("bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    // It starts ruff by its name.
    let path = [programs.as_os_str(), path.as_os_str()].join(OsStr::new(":"));
    run(command(programs.join("openapi-python-client"))
        .args([
            "generate",
            "--meta",
            "none",
            "--overwrite",
            "--fail-on-warning",
        ])
        .arg("--path")
        .arg(&document)
        .arg("--config")
        .arg(settings.join("openapi-python-client.yaml"))
        .arg("--custom-template-path")
        .arg(settings.join("templates"))
        .arg("--output-path")
        .arg(python.join("tidewire"))
        .env("PATH", path))?;

    run(command(node.join("openapi-typescript"))
        .arg(&document)
        .arg("--output")
        .arg(folder.join("typescript/src/api.gen.ts"))
        .args([
            "--root-types",
            "--root-types-no-schema-prefix",
            "--root-types-keep-casing",
        ]))?;
    Ok(folder)
}

/// The files below a folder by their paths in it; of a file itself, under an empty path.
fn contents(place: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![place.to_owned()];
    while let Some(path) = waiting.pop() {
        let cannot = || format!("cannot read {}", path.display());
        if path.is_dir() {
            for entry in fs::read_dir(&path).with_context(cannot)? {
                let entry = entry?.path();
                // What Python and the tools beside it leave there.
                if entry.file_name().is_some_and(|name| name != "__pycache__") {
                    waiting.push(entry);
                }
            }
        } else {
            let name = path.strip_prefix(place).unwrap_or(&path).to_owned();
            found.insert(name, fs::read(&path).with_context(cannot)?);
        }
    }
    Ok(found)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    for (name, bytes) in contents(from)? {
        let file = if name.as_os_str().is_empty() {
            to.to_owned()
        } else {
            to.join(name)
        };
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        fs::write(&file, bytes).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

fn remove(place: &Path) -> Result<()> {
    let removed = if place.is_dir() {
        fs::remove_dir_all(place)
    } else if place.exists() {
        fs::remove_file(place)
    } else {
        Ok(())
    };
    removed.with_context(|| format!("cannot remove {}", place.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_the_same_contents_and_what_is_left_behind_by_python_is_none_of_it() {
        let home = std::env::temp_dir().join(format!("tidewire-clients-{}", std::process::id()));
        let (from, to) = (home.join("from"), home.join("to"));
        fs::create_dir_all(from.join("deep/__pycache__")).unwrap();
        fs::write(from.join("deep/one.py"), "1").unwrap();
        fs::write(from.join("deep/__pycache__/one.pyc"), "x").unwrap();
        copy(&from, &to).unwrap();
        let found = contents(&to).unwrap();
        assert_eq!(
            found,
            BTreeMap::from([("deep/one.py".into(), b"1".to_vec())])
        );
        copy(&from.join("deep/one.py"), &home.join("alone.py")).unwrap();
        assert_eq!(fs::read(home.join("alone.py")).unwrap(), b"1");
        remove(&home).unwrap();
        assert!(!home.exists());
    }
}
