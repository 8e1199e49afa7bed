//! The linters of what is deployed: Python's in an environment of their own, Go's at fixed versions where Go is installed, and
//! whatever the machine has.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::lint_deploy::tool;
use crate::process::{command, output, run_within};
use crate::tools;

const KUSTOMIZE: &str = "sigs.k8s.io/kustomize/kustomize/v5@v5.8.1";
const HELM: &str = "helm.sh/helm/v3/cmd/helm@v3.22.0";
/// A compiler with two cores, and a hundred modules to fetch.
const LIMIT: Duration = Duration::from_secs(1800);

pub struct Linters {
    /// Where the programs of Python's packages are.
    python: PathBuf,
    pub kustomize: Option<PathBuf>,
    pub helm: Option<PathBuf>,
    pub promtool: Option<PathBuf>,
    /// `docker compose`, or `docker-compose` by itself.
    pub compose: Option<Vec<PathBuf>>,
}

pub fn get() -> Result<Linters> {
    Ok(Linters {
        python: tools::deploy_linters()?,
        kustomize: by_go("kustomize", &["version"], KUSTOMIZE)?,
        helm: by_go("helm", &["version"], HELM)?,
        promtool: here("promtool", &["--version"])?,
        compose: compose()?,
    })
}

impl Linters {
    pub fn python(&self, program: &str) -> Command {
        command(self.python.join(program))
    }

    pub fn missing(&self) -> Vec<&'static str> {
        [
            ("kustomize", self.kustomize.is_none()),
            ("helm", self.helm.is_none()),
            ("promtool (Debian: prometheus)", self.promtool.is_none()),
            ("docker compose", self.compose.is_none()),
        ]
        .into_iter()
        .filter_map(|(name, is_missing)| is_missing.then_some(name))
        .collect()
    }
}

/// The machine's own, or one in our folder, whoever put it there.
fn here(name: &str, asked: &[&str]) -> Result<Option<PathBuf>> {
    let candidates = [PathBuf::from(name), tool(name)?];
    Ok(candidates
        .into_iter()
        .find(|program| output(command(program).args(asked)).is_some()))
}

/// The same, fetched and built where that can be done.
fn by_go(name: &str, asked: &[&str], module: &str) -> Result<Option<PathBuf>> {
    if let Some(program) = here(name, asked)? {
        return Ok(Some(program));
    }
    if output(command("go").arg("version")).is_none() {
        return Ok(None);
    }
    let ours = tool(name)?;
    let mut install = command("go");
    install.args(["install", module]);
    if let Some(folder) = ours.parent() {
        install.env("GOBIN", folder);
    }
    if let Err(error) = run_within(LIMIT, &mut install) {
        println!("{error:#}");
        return Ok(None);
    }
    Ok(Some(ours))
}

fn compose() -> Result<Option<Vec<PathBuf>>> {
    if output(command("docker").args(["compose", "version"])).is_some() {
        return Ok(Some(vec!["docker".into(), "compose".into()]));
    }
    Ok(here("docker-compose", &["version"])?.map(|program| vec![program]))
}
