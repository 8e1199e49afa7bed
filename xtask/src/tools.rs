//! Programs that the chores need beside Rust. Tools are fetched once, at a fixed version, into the target folder;
//! servers are the system's own.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use tidewire_testservers::{Engine, find, find_pgbouncer};

use crate::apt;
use crate::process::{cargo, command, output, run, target};

const CARGO_DENY: &str = "0.20.2";

fn folder() -> Result<PathBuf> {
    Ok(target()?.join("tools"))
}

/// The dependencies' inspector, built here unless this very version is at hand.
pub fn cargo_deny() -> Result<PathBuf> {
    let ours = folder()?.join("bin/cargo-deny");
    for candidate in [PathBuf::from("cargo-deny"), ours.clone()] {
        let version = output(command(&candidate).arg("--version"));
        if version.is_some_and(|version| version.trim() == format!("cargo-deny {CARGO_DENY}")) {
            return Ok(candidate);
        }
    }
    // It runs for two seconds: building it fast matters, not building it well.
    run(cargo()
        .args(["install", "cargo-deny", "--locked", "--force"])
        .args(["--version", CARGO_DENY, "--root"])
        .arg(folder()?)
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0")
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .env_remove("CARGO_TARGET_DIR"))?;
    Ok(ours)
}

/// Schemathesis in a Python environment of its own, at the versions of its requirements file: the seed repeats a run
/// only while the generators stay the same.
pub fn schemathesis() -> Result<PathBuf> {
    let environment = folder()?.join("schemathesis");
    let program = environment.join("bin/schemathesis");
    let requirements = crate::process::root().join("xtask/schemathesis/requirements.txt");
    let wanted = fs::read_to_string(&requirements)
        .with_context(|| format!("cannot read {}", requirements.display()))?;
    let stamp = environment.join("installed.txt");
    let installed = fs::read_to_string(&stamp).unwrap_or_default();
    if installed == wanted && output(command(&program).arg("--version")).is_some() {
        return Ok(program);
    }

    ensure_venv()?;
    if environment.exists() {
        fs::remove_dir_all(&environment)
            .with_context(|| format!("cannot remove {}", environment.display()))?;
    }
    run(command("python3").args(["-m", "venv"]).arg(&environment))?;
    run(command(environment.join("bin/python"))
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ])
        .arg("--requirement")
        .arg(&requirements))?;
    run(command(&program).arg("--version"))?;
    fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(program)
}

/// Debian's Python comes without the part that makes environments.
fn ensure_venv() -> Result<()> {
    let has_venv = || output(command("python3").args(["-c", "import ensurepip, venv"])).is_some();
    if has_venv() {
        return Ok(());
    }
    if output(command("python3").arg("--version")).is_none() {
        bail!("python3 not found: the API tests need Python 3.10 or newer, install it");
    }
    if apt::can_install() {
        apt::install(&["python3-venv"])?;
        if has_venv() {
            return Ok(());
        }
    }
    bail!(
        "python3 cannot make virtual environments: install its venv module (Debian: python3-venv)"
    );
}

/// The servers that the tests run against, by Debian's packages where they are missing.
pub fn servers() -> Result<()> {
    let missing = missing_servers();
    if missing.is_empty() {
        return Ok(());
    }
    if apt::can_install() {
        let packages: Vec<&str> = missing.iter().map(|(package, _)| *package).collect();
        apt::install(&packages)?;
    }
    // Their own words say what to install where we may not.
    match missing_servers().first() {
        None => Ok(()),
        Some((_, why)) => bail!("{why}"),
    }
}

/// Packages, each with what is wrong without it.
fn missing_servers() -> Vec<(&'static str, tidewire_testservers::Error)> {
    let mut missing = Vec::new();
    for engine in Engine::SERVERS {
        if engine.named_url().is_none()
            && let (Some(package), Err(why)) = (engine.package(), find(engine))
        {
            missing.push((package, why));
        }
    }
    if let Err(why) = find_pgbouncer() {
        missing.push(("pgbouncer", why));
    }
    missing
}
