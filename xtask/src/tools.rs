//! Programs that the chores need beside Rust. Tools are fetched once, at a fixed version, into the target folder;
//! servers are the system's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tidewire_testservers::{
    Engine, GARAGE_VERSION, KAFKA_VERSION, KUBERNETES_VERSION, KWOK_VERSION, Kafka, Redis, S3,
    S3_VERSION, find, find_kafka, find_kubernetes, find_pgbouncer, find_redis, find_s3,
    kafka_folder,
};

use crate::apt;
use crate::process::{cargo, command, output, run, run_within, target};

const CARGO_DENY: &str = "0.20.2";
const CARGO_ABOUT: &str = "0.9.3";
const CARGO_CYCLONEDX: &str = "0.5.9";

fn folder() -> Result<PathBuf> {
    Ok(target()?.join("tools"))
}

/// The dependencies' inspector.
pub fn cargo_deny() -> Result<PathBuf> {
    // It runs for two seconds: building it fast matters, not building it well.
    cargo_tool("cargo-deny", CARGO_DENY, &["--version"], ("0", &[]))
}

/// What gathers licences' texts. It compares all of them with all that are known, which takes it half an hour as it is built
/// the fastest.
pub fn cargo_about() -> Result<PathBuf> {
    let with = ["--features", "cli"];
    cargo_tool("cargo-about", CARGO_ABOUT, &["--version"], ("1", &with))
}

/// What writes bills of materials.
pub fn cargo_cyclonedx() -> Result<PathBuf> {
    let asked = ["cyclonedx", "--version"];
    cargo_tool("cargo-cyclonedx", CARGO_CYCLONEDX, &asked, ("0", &[]))
}

/// A program of cargo's, built here unless this very version is at hand.
fn cargo_tool(
    name: &str,
    version: &str,
    asked: &[&str],
    (optimised, with): (&str, &[&str]),
) -> Result<PathBuf> {
    let ours = folder()?.join("bin").join(name);
    for candidate in [PathBuf::from(name), ours.clone()] {
        let said = output(command(&candidate).args(asked));
        if said.is_some_and(|said| said.split_whitespace().any(|word| word == version)) {
            return Ok(candidate);
        }
    }
    run(cargo_install(name, version, optimised)?.args(with))?;
    Ok(ours)
}

/// What builds a program into our folder, as fast as may be for what it is to do.
fn cargo_install(package: &str, version: &str, optimised: &str) -> Result<Command> {
    let mut install = cargo();
    install
        .args(["install", package, "--locked", "--force"])
        .args(["--version", version, "--root"])
        .arg(folder()?)
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", optimised)
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .env_remove("CARGO_TARGET_DIR");
    Ok(install)
}

/// Schemathesis, at the versions of its requirements file: the seed repeats a run only while the generators stay the
/// same.
pub fn schemathesis() -> Result<PathBuf> {
    let environment = python_environment("schemathesis", |environment| {
        let mut version = command(environment.join("bin/schemathesis"));
        version.arg("--version");
        version
    })?;
    Ok(environment.join("bin/schemathesis"))
}

/// A Python with the reference library of Standard Webhooks, by which the tests judge signatures.
pub fn standardwebhooks() -> Result<PathBuf> {
    let environment = python_environment("standardwebhooks", |environment| {
        let mut import = command(environment.join("bin/python"));
        import.args(["-c", "import standardwebhooks"]);
        import
    })?;
    Ok(environment.join("bin/python"))
}

/// A Python with Arrow's reader of Parquet files.
pub fn pyarrow() -> Result<PathBuf> {
    let environment = python_environment("pyarrow", |environment| {
        let mut import = command(environment.join("bin/python"));
        import.args(["-c", "import pyarrow.parquet"]);
        import
    })?;
    Ok(environment.join("bin/python"))
}

/// A Python with a server of Stripe's API, against which the tests hold its definition.
pub fn localstripe() -> Result<PathBuf> {
    let environment = python_environment("localstripe", |environment| {
        let mut import = command(environment.join("bin/python"));
        import.args(["-c", "import localstripe"]);
        import
    })?;
    Ok(environment.join("bin/python"))
}

/// The folder of the linters that Python's packages bring.
pub fn deploy_linters() -> Result<PathBuf> {
    let environment = python_environment("deploy-linters", |environment| {
        let mut version = command(environment.join("bin/hadolint"));
        version.arg("--version");
        version
    })?;
    Ok(environment.join("bin"))
}

/// A Python environment with the generator of the Python client and what its tests need.
pub fn clients_python() -> Result<PathBuf> {
    python_environment("clients", |environment| {
        let mut import = command(environment.join("bin/python"));
        import.args([
            "-c",
            "import openapi_python_client, httpx, httpx_sse, standardwebhooks, pytest, mypy, confluent_kafka",
        ]);
        import
    })
}

/// The programs of the TypeScript client's packages, installed as its lock file has them.
pub fn clients_node() -> Result<PathBuf> {
    ensure(
        "the TypeScript client is built",
        &[("node", "nodejs"), ("npm", "npm")],
    )?;
    let home = crate::process::root().join("clients/typescript");
    let lock = home.join("package-lock.json");
    let wanted =
        fs::read_to_string(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
    let packages = home.join("node_modules");
    let stamp = packages.join(".installed.json");
    if fs::read_to_string(&stamp).unwrap_or_default() != wanted {
        run(command("npm")
            .args([
                "ci",
                "--silent",
                "--no-audit",
                "--no-fund",
                "--ignore-scripts",
            ])
            .current_dir(&home))?;
        fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
    }
    Ok(packages.join(".bin"))
}

/// A Python environment of its own, with what the requirements file of that name lists. `works` is a command that
/// succeeds if it is whole.
fn python_environment(name: &str, works: impl Fn(&Path) -> Command) -> Result<PathBuf> {
    let environment = folder()?.join(name);
    let requirements = crate::process::root()
        .join("xtask")
        .join(name)
        .join("requirements.txt");
    let wanted = fs::read_to_string(&requirements)
        .with_context(|| format!("cannot read {}", requirements.display()))?;
    let stamp = environment.join("installed.txt");
    let installed = fs::read_to_string(&stamp).unwrap_or_default();
    if installed == wanted && output(&mut works(&environment)).is_some() {
        return Ok(environment);
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
    run(&mut works(&environment))?;
    fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(environment)
}

/// Debian's Python comes without the part that makes environments.
fn ensure_venv() -> Result<()> {
    let has_venv = || output(command("python3").args(["-c", "import ensurepip, venv"])).is_some();
    if has_venv() {
        return Ok(());
    }
    if output(command("python3").arg("--version")).is_none() {
        bail!("python3 not found: the API tests need Python 3.11 or newer, install it");
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

/// A browser, for what a page sees; and the folder with what drives it and judges pages, at the versions of its lock file.
pub fn browser() -> Result<PathBuf> {
    ensure(
        "pages are opened",
        &[("chromium", "chromium"), ("node", "nodejs"), ("npm", "npm")],
    )?;
    let environment = folder()?.join("playwright");
    let lists = crate::process::root().join("xtask/playwright");
    let lock = lists.join("package-lock.json");
    let wanted =
        fs::read_to_string(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
    let stamp = environment.join("installed.json");
    if fs::read_to_string(&stamp).unwrap_or_default() == wanted {
        return Ok(environment);
    }
    fs::create_dir_all(&environment)
        .with_context(|| format!("cannot make {}", environment.display()))?;
    for name in ["package.json", "package-lock.json"] {
        fs::copy(lists.join(name), environment.join(name))
            .with_context(|| format!("cannot copy {name}"))?;
    }
    run_within(
        Duration::from_secs(600),
        command("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .arg("--prefix")
            .arg(&environment),
    )?;
    fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(environment)
}

/// The archives of Kafka, which no Debian has, by Maven; and the Java that runs both.
pub fn kafka() -> Result<()> {
    if Kafka::named().is_some() || find_kafka().is_ok() {
        return Ok(());
    }
    ensure(
        "Kafka is fetched and run",
        &[("java", "default-jre-headless"), ("mvn", "maven")],
    )?;
    let target = kafka_folder();
    // It may be Java alone that was missing.
    if !target
        .join(format!("kafka_2.13-{KAFKA_VERSION}.jar"))
        .exists()
    {
        fetch_kafka(&target)?;
    }
    match find_kafka() {
        Ok(_) => Ok(()),
        Err(why) => bail!("{why}"),
    }
}

/// A server that speaks S3. It hashes all that it is given, so it is built a little better.
pub fn s3() -> Result<()> {
    let is_ours = find_s3().is_ok_and(|found| found.version == S3_VERSION);
    if S3::named().is_some() || is_ours {
        return Ok(());
    }
    run(cargo_install("s3s-fs", S3_VERSION, "1")?.args(["--features", "binary"]))?;
    match find_s3() {
        Ok(_) => Ok(()),
        Err(why) => bail!("{why}"),
    }
}

/// Garage, the S3 that people run.
pub fn garage() -> Result<()> {
    let ours = folder()?.join("bin/garage");
    let version = output(command(&ours).arg("--version")).unwrap_or_default();
    if version.contains(GARAGE_VERSION) {
        return Ok(());
    }
    let features = ["--no-default-features", "--features", "bundled-libs,sqlite"];
    run(cargo_install("garage", GARAGE_VERSION, "1")?.args(features))
}

/// The API of Kubernetes and what plays its nodes, built by Go where Go is installed, and etcd; whether they are here then.
/// A build takes a quarter of an hour on two cores, once.
pub fn kubernetes() -> Result<bool> {
    ensure("Kubernetes' API is run", &[("etcd", "etcd-server")])?;
    // It alone says its version without dashes.
    if output(command("openssl").arg("version")).is_none() && apt::can_install() {
        apt::install(&["openssl"])?;
    }
    if find_kubernetes().is_ok() {
        return Ok(true);
    }
    if output(command("go").arg("version")).is_none() {
        return Ok(false);
    }
    let bin = folder()?.join("bin");
    fs::create_dir_all(&bin).with_context(|| format!("cannot make {}", bin.display()))?;
    build_api_server(&bin)?;
    let kwok = format!("sigs.k8s.io/kwok/cmd/kwok@v{KWOK_VERSION}");
    run_within(
        GO_LIMIT,
        command("go")
            .args(["install", "-trimpath", "-ldflags", "-s -w", &kwok])
            .env("CGO_ENABLED", "0")
            .env("GOBIN", &bin),
    )?;
    match find_kubernetes() {
        Ok(_) => Ok(true),
        Err(why) => bail!("{why}"),
    }
}

/// Two cores, a thousand packages, and whatever else the machine has to do.
const GO_LIMIT: Duration = Duration::from_secs(3600);

/// `go install` will not have it: its module names its own parts by folders that a module on its own does not have. One of
/// ours beside it says which of their releases is meant.
fn build_api_server(bin: &Path) -> Result<()> {
    let module = folder()?.join("kubernetes");
    fs::create_dir_all(&module).with_context(|| format!("cannot make {}", module.display()))?;
    let path = "k8s.io/kubernetes";
    let name = format!("{path}@v{KUBERNETES_VERSION}");
    let list = output(command("go").args(["mod", "download", "-json", &name]));
    let list = list.with_context(|| format!("`go mod download {name}` failed"))?;
    let manifest = field(&list, "GoMod").context("a module has a manifest")?;
    let manifest =
        fs::read_to_string(manifest).with_context(|| format!("cannot read {manifest}"))?;
    // Version 1.35.4 of the whole has version 0.35.4 of each part.
    let (_, parts_version) = KUBERNETES_VERSION.split_once('.').context("a version")?;
    let mut text = format!(
        "module tests.invalid/kubernetes\n\ngo 1.25.0\n\nrequire {path} v{KUBERNETES_VERSION}\n\nreplace (\n"
    );
    for line in manifest.lines() {
        if let Some((part, _)) = line.trim().split_once(" => ./staging/") {
            text.push_str(&format!("\t{part} => {part} v0.{parts_version}\n"));
        }
    }
    text.push_str(")\n");
    let file = module.join("go.mod");
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    // What it says of itself is set from outside.
    let (major, rest) = KUBERNETES_VERSION.split_once('.').context("a version")?;
    let minor = rest.split('.').next().unwrap_or_default();
    let set = "k8s.io/component-base/version.git";
    let flags = format!(
        "-s -w -X {set}Version=v{KUBERNETES_VERSION} -X {set}Major={major} -X {set}Minor={minor}"
    );
    run_within(
        GO_LIMIT,
        command("go")
            .args(["build", "-mod=mod", "-trimpath", "-ldflags", &flags, "-o"])
            .arg(bin)
            .arg(format!("{path}/cmd/kube-apiserver"))
            .current_dir(&module)
            .env("CGO_ENABLED", "0"),
    )
}

/// A field of the JSON that Go prints, a line each.
fn field<'j>(json: &'j str, name: &str) -> Option<&'j str> {
    let key = format!("\"{name}\": \"");
    json.lines().find_map(|line| {
        let value = line.trim().strip_prefix(&key)?;
        Some(value.trim_end_matches(',').trim_end_matches('"'))
    })
}

/// Into a folder beside, and then into place: half of it must not look like all of it.
fn fetch_kafka(target: &Path) -> Result<()> {
    let making = folder()?.join("kafka.making");
    if making.exists() {
        fs::remove_dir_all(&making)
            .with_context(|| format!("cannot remove {}", making.display()))?;
    }
    fs::create_dir_all(&making).with_context(|| format!("cannot make {}", making.display()))?;
    let list = making.join("pom.xml");
    fs::write(&list, KAFKA_LIST.replace("KAFKA_VERSION", KAFKA_VERSION))
        .with_context(|| format!("cannot write {}", list.display()))?;
    let archives = making.join("archives");
    run_within(
        Duration::from_secs(600),
        command("mvn")
            .args(["--batch-mode", "--quiet", "--file"])
            .arg(&list)
            .arg("dependency:copy-dependencies")
            .arg("-DincludeScope=runtime")
            .arg(format!("-DoutputDirectory={}", archives.display())),
    )?;
    if target.exists() {
        fs::remove_dir_all(target)
            .with_context(|| format!("cannot remove {}", target.display()))?;
    }
    fs::rename(&archives, target)
        .with_context(|| format!("cannot move Kafka to {}", target.display()))?;
    fs::remove_dir_all(&making).with_context(|| format!("cannot remove {}", making.display()))
}

/// Kafka's server with all that it needs, and what prints its log.
const KAFKA_LIST: &str = "<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>tidewire</groupId>
  <artifactId>test-kafka</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <build><pluginManagement><plugins><plugin>
    <groupId>org.apache.maven.plugins</groupId>
    <artifactId>maven-dependency-plugin</artifactId>
    <version>3.8.1</version>
  </plugin></plugins></pluginManagement></build>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>KAFKA_VERSION</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId>
      <artifactId>slf4j-simple</artifactId>
      <version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
";

/// What the C library behind the job bus is built with, beside the C compiler that all of it needs.
pub fn kafka_client() -> Result<()> {
    ensure(
        "the feature `kafka` is built",
        &[("make", "make"), ("c++", "g++")],
    )
}

/// Programs, each with the Debian package that brings it.
fn ensure(what: &str, wanted: &[(&str, &'static str)]) -> Result<()> {
    let missing = || -> Vec<(String, &'static str)> {
        wanted
            .iter()
            .filter(|(program, _)| output(command(program).arg("--version")).is_none())
            .map(|(program, package)| ((*program).to_owned(), *package))
            .collect()
    };
    let packages: Vec<&str> = missing().iter().map(|(_, package)| *package).collect();
    if packages.is_empty() {
        return Ok(());
    }
    if apt::can_install() {
        apt::install(&packages)?;
    }
    match missing().first() {
        None => Ok(()),
        Some((program, package)) => {
            bail!(
                "{what} with {program}, which is not installed (Debian: apt-get install {package})"
            )
        }
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
    if Redis::named().is_none()
        && let Err(why) = find_redis()
    {
        missing.push(("redis-server", why));
    }
    missing
}
