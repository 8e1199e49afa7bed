//! Which servers' programs this machine has.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Engine, Error, Result};

/// An installed server.
#[derive(Clone, Debug)]
pub struct Found {
    /// What answers: for [`Engine::MySql`] that may be MariaDB.
    pub product: &'static str,
    pub version: String,
    pub program: PathBuf,
}

impl Found {
    pub(crate) fn at(program: PathBuf, product: &'static str) -> Option<Found> {
        let version = version_of(&program)?;
        Some(Found {
            product,
            version,
            program,
        })
    }

    /// The number before the first point.
    pub(crate) fn major(&self) -> u32 {
        let digits = self.version.split('.').next().unwrap_or_default();
        digits.parse().unwrap_or(0)
    }

    /// A program that is installed beside it.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.program.with_file_name(name)
    }
}

/// The oldest PostgreSQL that Tidewire runs on.
const POSTGRES: u32 = 15;

/// What this machine has of an engine.
pub fn find(engine: Engine) -> Result<Found> {
    match engine {
        Engine::Sqlite => Err(Error::new(
            "SQLite is a library: there is no server to find",
        )),
        Engine::Postgres => find_postgres(),
        Engine::MySql => find_mysql(),
    }
}

pub fn find_pgbouncer() -> Result<Found> {
    which("pgbouncer")
        .and_then(|program| Found::at(program, "PgBouncer"))
        .ok_or_else(|| Error::new("pgbouncer is not installed (Debian: apt-get install pgbouncer)"))
}

fn find_postgres() -> Result<Found> {
    let mut folders = path();
    // Debian keeps them apart by version, and off the path. Of equals the last one counts.
    let versions = match std::env::var_os(PROGRAMS) {
        Some(_) => None,
        None => fs::read_dir("/usr/lib/postgresql").ok(),
    };
    folders.extend(
        versions
            .into_iter()
            .flatten()
            .flatten()
            .map(|version| version.path().join("bin")),
    );
    let newest = folders
        .iter()
        .filter(|folder| folder.join("initdb").is_file())
        .filter_map(|folder| Found::at(folder.join("postgres"), "PostgreSQL"))
        .max_by_key(Found::major);
    match newest {
        Some(found) if found.major() >= POSTGRES => Ok(found),
        Some(found) => Err(Error::new(format!(
            "PostgreSQL {} is installed, and {POSTGRES} is the oldest that is supported",
            found.version
        ))),
        None => Err(Error::new(
            "PostgreSQL is not installed (Debian: apt-get install postgresql)",
        )),
    }
}

fn find_mysql() -> Result<Found> {
    let mariadb = which("mariadbd").filter(|_| which("mariadb-install-db").is_some());
    let found = match mariadb {
        Some(program) => Found::at(program, "MariaDB"),
        None => which("mysqld").and_then(|program| Found::at(program, "MySQL")),
    };
    found.ok_or_else(|| {
        Error::new(
            "neither MariaDB nor MySQL is installed (Debian: apt-get install mariadb-server)",
        )
    })
}

/// The folders to search instead of the usual ones, as in `PATH`: for tests against versions that
/// are not the system's.
const PROGRAMS: &str = "TIDEWIRE_TEST_PROGRAMS";

/// Where programs are, with the folders of servers, which are not on everybody's path.
fn path() -> Vec<PathBuf> {
    if let Some(folders) = std::env::var_os(PROGRAMS) {
        return std::env::split_paths(&folders).collect();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/sbin", "/usr/local/sbin", "/usr/bin"].map(PathBuf::from));
    folders
}

pub fn which(name: &str) -> Option<PathBuf> {
    path()
        .into_iter()
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

/// Where the chores keep what they fetch.
pub fn tools() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || workspace.unwrap_or(Path::new(".")).join("target"),
        PathBuf::from,
    );
    std::path::absolute(&target).unwrap_or(target).join("tools")
}

/// From `postgres (PostgreSQL) 15.18 (Debian …)`, `mariadbd  Ver 10.11.19-MariaDB-… for …`,
/// `PgBouncer 1.18.0`, `Redis server v=7.0.15 sha=…`, `s3s-fs 0.14.1`, `garage cargo:2.5.0 […]`,
/// `etcd Version: 3.4.23`, `Kubernetes v1.35.4`.
fn version_of(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    version_in(&text).map(str::to_owned)
}

fn version_in(text: &str) -> Option<&str> {
    text.split_whitespace()
        .map(|word| word.strip_prefix("v=").unwrap_or(word))
        .map(|word| word.strip_prefix("cargo:").unwrap_or(word))
        .map(|word| word.strip_prefix('v').unwrap_or(word))
        .find(|word| word.starts_with(|first: char| first.is_ascii_digit()))
        .and_then(|word| word.split('-').next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_from_what_each_server_says() {
        for (said, version) in [
            (
                "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)",
                "15.18",
            ),
            (
                "/usr/sbin/mariadbd  Ver 10.11.19-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64",
                "10.11.19",
            ),
            (
                "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64",
                "7.0.15",
            ),
            ("PgBouncer 1.18.0\nlibevent 2.1.12-stable", "1.18.0"),
            ("s3s-fs 0.14.1", "0.14.1"),
            ("garage cargo:2.5.0 [features: sqlite]", "2.5.0"),
            ("etcd Version: 3.4.23\nGit SHA: Not provided", "3.4.23"),
            ("Kubernetes v1.35.4", "1.35.4"),
            ("kwok version v0.8.0 go1.26.8 (linux/amd64)", "0.8.0"),
        ] {
            assert_eq!(version_in(said), Some(version), "{said}");
        }
    }
}
