//! Debian's packages, for what no other registry has.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::process::{command, output, run_within};

const APT: &str = "/usr/bin/apt-get";
/// A hundred megabytes over a slow line; a network that swallows packets would otherwise hold it for ever.
const LIMIT: Duration = Duration::from_secs(600);

/// Whether this is a Debian and we are its root.
pub fn can_install() -> bool {
    let is_root = || output(Command::new("id").arg("-u")).is_some_and(|id| id.trim() == "0");
    Path::new(APT).exists() && is_root()
}

/// Install packages, and start none of the services that they bring.
pub fn install(packages: &[&str]) -> Result<()> {
    let _services = NoServices::begin()?;
    let apt = || {
        let mut apt = command(APT);
        // Somebody else may be at it: their lock is worth a wait.
        apt.env("DEBIAN_FRONTEND", "noninteractive").args([
            "--quiet",
            "-o",
            "DPkg::Lock::Timeout=300",
        ]);
        apt
    };
    run_within(LIMIT, apt().arg("update"))?;
    run_within(
        LIMIT,
        apt()
            .args(["install", "--yes", "--no-install-recommends"])
            .args(packages),
    )
}

/// What packages ask before they start a service. While this lives the answer is no; a machine that has an answer of
/// its own keeps it.
struct NoServices {
    is_ours: bool,
}

const POLICY: &str = "/usr/sbin/policy-rc.d";

impl NoServices {
    fn begin() -> Result<NoServices> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o755)
            .open(POLICY);
        match file {
            Ok(mut file) => {
                // Should we be killed before we can remove it, it permits everything.
                let us = std::process::id();
                write!(
                    file,
                    "#!/bin/sh\n# no services while process {us} installs what tests need\n\
                     kill -0 {us} 2>/dev/null && exit 101\nexit 0\n"
                )
                .with_context(|| format!("cannot write {POLICY}"))?;
                Ok(NoServices { is_ours: true })
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                Ok(NoServices { is_ours: false })
            }
            Err(error) => Err(error).with_context(|| format!("cannot write {POLICY}")),
        }
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.is_ours {
            // It permits everything once we are gone.
            let _ = fs::remove_file(POLICY);
        }
    }
}
