//! `cargo xtask lint-deploy`: what is shipped beside the binary, by the linters of those who read it. A linter that cannot be
//! had here is said in the summary, and never passes for one that ran.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::linters::{self, Linters};
use crate::process::{command, line, output, root, run, target};
use crate::steps::{Outcome, Steps};

const CHART: &str = "deploy/helm/tidewire";
/// The chart asks for a newer one than `helm template` supposes when it was not built by its makers.
const KUBERNETES: &str = "1.34.0";

pub fn run_all() -> Result<()> {
    let mut steps = Steps::new();
    let result = run_steps(&mut steps);
    steps.print();
    result
}

pub fn run_steps(steps: &mut Steps) -> Result<()> {
    let mut found = None;
    steps.run("linters", || {
        let linters = found.insert(linters::get()?);
        Ok(match linters.missing() {
            missing if missing.is_empty() => Outcome::Passed,
            missing => Outcome::Noted(format!("without {}", missing.join(", "))),
        })
    })?;
    let linters = found.context("the linters were looked for")?;
    steps.run("Dockerfile", || dockerfile(&linters))?;
    steps.run("shell scripts", || scripts(&linters))?;
    steps.run("YAML", || yaml(&linters))?;
    steps.run("Compose", || compose(&linters))?;
    steps.run("kustomize", || kustomize(&linters))?;
    steps.run("chart", || chart(&linters))?;
    steps.run("alerts", || alerts(&linters))?;
    steps.run("units", units)
}

fn dockerfile(linters: &Linters) -> Result<Outcome> {
    run(linters.python("hadolint").arg("Dockerfile"))?;
    Ok(Outcome::Passed)
}

fn scripts(linters: &Linters) -> Result<Outcome> {
    run(linters
        .python("shellcheck")
        .args([".ci/run", "deploy/compose/keys.sh"]))?;
    Ok(Outcome::Passed)
}

fn yaml(linters: &Linters) -> Result<Outcome> {
    run(linters.python("yamllint").args([
        "--strict",
        "compose.yaml",
        "compose.mysql.yaml",
        "deploy",
    ]))?;
    Ok(Outcome::Passed)
}

/// The file alone, and with MySQL in PostgreSQL's place: then nobody may be left who asks for what is not there.
fn compose(linters: &Linters) -> Result<Outcome> {
    let Some(compose) = &linters.compose else {
        return Ok(not_here("docker compose"));
    };
    let services = |files: &[&str]| -> Result<String> {
        let mut config = command(&compose[0]);
        config.args(&compose[1..]).args(files).arg("config");
        println!("$ {}", line(&config));
        let text = output(&mut config);
        let text = text.with_context(|| format!("`{}` failed", line(&config)))?;
        // What stands behind them is volumes, and the parts that services are made of.
        let (services, _) = text.split_once("\nnetworks:").context("it has a network")?;
        Ok(services.to_owned())
    };
    let alone = services(&["--file", "compose.yaml", "--profile", "metrics"])?;
    if !alone.contains("postgres://") || alone.contains("mysql") {
        bail!("compose.yaml is to be on PostgreSQL");
    }
    let mysql = services(&["--file", "compose.yaml", "--file", "compose.mysql.yaml"])?;
    if !mysql.contains("mysql://") || mysql.contains("postgres") {
        bail!("with compose.mysql.yaml there are still traces of PostgreSQL");
    }
    Ok(Outcome::Passed)
}

fn kustomize(linters: &Linters) -> Result<Outcome> {
    let Some(kustomize) = &linters.kustomize else {
        return Ok(not_here("kustomize"));
    };
    let folder = root().join("deploy/kubernetes");
    for place in ["base", "single", "overlays/production"] {
        rendered(
            linters,
            place,
            command(kustomize).arg("build").arg(folder.join(place)),
        )?;
    }
    // A component is nothing by itself: a copy of an overlay has it. And its secrets are not in the repository: a copy gets the
    // example's.
    let copy = target()?.join("lint-deploy/kubernetes");
    if copy.exists() {
        fs::remove_dir_all(&copy).with_context(|| format!("cannot remove {}", copy.display()))?;
    }
    fs::create_dir_all(copy.parent().context("it has a folder")?)?;
    run(command("cp").arg("-r").arg(&folder).arg(&copy))?;
    let staging = copy.join("overlays/staging");
    fs::copy(
        staging.join("secret.env.example"),
        staging.join("secret.env"),
    )
    .context("cannot copy secret.env.example")?;
    rendered(
        linters,
        "overlays/staging",
        command(kustomize).arg("build").arg(&staging),
    )?;
    let production = copy.join("overlays/production");
    let file = production.join("kustomization.yaml");
    let text =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let with_operator = text.replace(
        "# - ../../components/operator",
        "- ../../components/operator",
    );
    if with_operator == text {
        bail!(
            "{} is to name the operator as a component that may be had",
            file.display()
        );
    }
    fs::write(&file, with_operator).with_context(|| format!("cannot write {}", file.display()))?;
    rendered(
        linters,
        "components/operator",
        command(kustomize).arg("build").arg(&production),
    )?;
    Ok(Outcome::Passed)
}

fn chart(linters: &Linters) -> Result<Outcome> {
    let Some(helm) = &linters.helm else {
        return Ok(not_here("helm"));
    };
    let values =
        fs::read_dir(root().join(CHART).join("ci")).context("the chart has values to lint by")?;
    for entry in values {
        let path = entry?.path();
        run(command(helm)
            .args([
                "lint",
                "--strict",
                CHART,
                "--kube-version",
                KUBERNETES,
                "--values",
            ])
            .arg(&path))?;
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let mut template = command(helm);
        template.args([
            "template",
            "lint",
            CHART,
            "--kube-version",
            KUBERNETES,
            "--values",
        ]);
        rendered(linters, &name, template.arg(&path))?;
    }
    // What nobody could start is refused, and so is a word that was mistyped.
    for (set, what) in [
        ("image.tag=x", "no Secret"),
        (
            "existingSecret=x,components.api.rolls=api",
            "an unknown value",
        ),
    ] {
        let mut template = command(helm);
        template.args([
            "template",
            "lint",
            CHART,
            "--kube-version",
            KUBERNETES,
            "--set",
            set,
        ]);
        if output(&mut template).is_some() {
            bail!("the chart takes {what}: `{}`", line(&template));
        }
    }
    Ok(Outcome::Passed)
}

/// What a program renders, judged by the schemas of Kubernetes' API. Resources of others (the Prometheus operator's) have
/// none there.
fn rendered(linters: &Linters, name: &str, render: &mut Command) -> Result<()> {
    println!("$ {}", line(render));
    let text = output(render).with_context(|| format!("`{}` failed", line(render)))?;
    let folder = target()?.join("lint-deploy");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let file = folder.join(format!("{}.yaml", name.replace('/', "-")));
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    run(linters
        .python("kubernetes-validate")
        .args(["--strict", "--quiet"])
        .arg(&file))
}

fn alerts(linters: &Linters) -> Result<Outcome> {
    let Some(promtool) = &linters.promtool else {
        return Ok(not_here("promtool"));
    };
    run(command(promtool).args(["check", "config", "deploy/prometheus/prometheus.yaml"]))?;
    run(command(promtool).args(["test", "rules", "deploy/prometheus/alerts.test.yaml"]))?;
    Ok(Outcome::Passed)
}

/// `verify` wants the program to be there: a copy of the unit names one that is everywhere.
fn units() -> Result<Outcome> {
    if output(command("systemd-analyze").arg("--version")).is_none() {
        return Ok(not_here("systemd-analyze"));
    }
    let folder = target()?.join("lint-deploy");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut rated = Vec::new();
    for name in ["tidewire.service", "tidewire-fleet-agent.service"] {
        let unit = root().join("deploy/systemd").join(name);
        let text =
            fs::read_to_string(&unit).with_context(|| format!("cannot read {}", unit.display()))?;
        let copy = folder.join(name);
        fs::write(&copy, text.replace("/usr/local/bin/tidewire", "/bin/true"))
            .with_context(|| format!("cannot write {}", copy.display()))?;
        run(command("systemd-analyze").arg("verify").arg(&copy))?;
        rated.push(exposure(&unit)?);
    }
    Ok(Outcome::Noted(format!("exposure {}", rated.join(", "))))
}

/// From 0 to 10 as systemd rates it; 2 and more is a unit that has lost its hardening.
fn exposure(unit: &Path) -> Result<String> {
    let mut security = command("systemd-analyze");
    security
        .args(["security", "--offline=true", "--threshold=20", "--no-pager"])
        .arg(unit);
    println!("$ {}", line(&security));
    let text = output(&mut security).with_context(|| format!("`{}` failed", line(&security)))?;
    let last = text
        .lines()
        .rev()
        .find_map(|line| line.split_once(".service: "));
    let rated = last.and_then(|(_, rating)| rating.split_whitespace().next());
    Ok(rated.context("systemd-analyze says no rating")?.to_owned())
}

fn not_here(program: &str) -> Outcome {
    Outcome::NotRun(format!("{program} is not here, and cannot be fetched"))
}

/// Where a tool of ours would lie.
pub fn tool(name: &str) -> Result<PathBuf> {
    Ok(target()?.join("tools/bin").join(name))
}
