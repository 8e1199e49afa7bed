//! `cargo xtask release`: what a release consists of, in `target/release-files`. An archive with the binary and what belongs to
//! it, a bill of materials, and checksums over both.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::process::{cargo, command, output, root, run, target};
use crate::steps::{Outcome, Steps};
use crate::tools;

/// Made for those who run it, not for those who build it: see Cargo.toml.
pub const PROFILE: &str = "dist";
/// What goes along as it lies in the repository.
const ALONG: [&str; 5] = [
    "LICENSE",
    "README.md",
    "CHANGELOG.md",
    ".env.example",
    "deploy",
];
const LICENCES: &str = "THIRD-PARTY-LICENCES.md";

/// What is released, and where it is made.
struct Release {
    /// `tidewire-VERSION-TARGET`.
    name: String,
    version: String,
    host: String,
    commit: String,
    /// Seconds since 1970, of the commit: the archive does not depend on when it was made.
    time: String,
    folder: PathBuf,
}

pub fn run_all(allow_dirty: bool) -> Result<()> {
    let mut steps = Steps::new();
    let result = check_tree(&mut steps, allow_dirty).and_then(|release| make(&mut steps, &release));
    steps.print();
    result
}

fn check_tree(steps: &mut Steps, allow_dirty: bool) -> Result<Release> {
    let mut release = None;
    steps.run("tree", || {
        let made = release.insert(Release::of_this_tree(allow_dirty)?);
        Ok(Outcome::Noted(format!("{} at {}", made.name, made.commit)))
    })?;
    release.context("the tree was looked at")
}

fn make(steps: &mut Steps, release: &Release) -> Result<()> {
    steps.run("build", || build(release))?;
    steps.run("licences", || licences(release))?;
    steps.run("bill of materials", || materials(release))?;
    steps.run("archive", || archive(release))?;
    steps.run("checksums", || checksums(release))
}

impl Release {
    fn of_this_tree(allow_dirty: bool) -> Result<Release> {
        let git = |arguments: &[&str]| -> Result<String> {
            let said = output(command("git").args(arguments));
            let said = said.context("a release is made from a git repository")?;
            Ok(said.trim().to_owned())
        };
        let changes = git(&["status", "--porcelain"])?;
        if !changes.is_empty() && !allow_dirty {
            bail!(
                "there are changes that no commit has (--allow-dirty takes them along):\n{changes}"
            );
        }
        let mut commit = git(&["rev-parse", "--short=12", "HEAD"])?;
        if !changes.is_empty() {
            commit.push_str("-dirty");
        }
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let rustc = output(command("rustc").arg("-vV")).context("rustc does not answer")?;
        let host = rustc.lines().find_map(|line| line.strip_prefix("host: "));
        let host = host.context("rustc names no host")?.to_owned();
        let name = format!("tidewire-{version}-{host}");
        Ok(Release {
            folder: target()?.join("release-files"),
            time: git(&["show", "--no-patch", "--format=%ct", "HEAD"])?,
            name,
            version,
            host,
            commit,
        })
    }

    /// The folder that becomes the archive.
    fn inside(&self) -> PathBuf {
        self.folder.join(&self.name)
    }

    fn binary(&self) -> PathBuf {
        self.inside().join("tidewire")
    }
}

fn build(release: &Release) -> Result<Outcome> {
    tools::kafka_client()?;
    // Nobody's folders are in what is given away.
    let here = root();
    let mut remapped = vec![format!("--remap-path-prefix={}=.", here.display())];
    if let Some(home) = cargo_home() {
        remapped.push(format!("--remap-path-prefix={}=cargo", home.display()));
    }
    run(cargo()
        .args([
            "build",
            "--locked",
            "--package",
            "tidewire",
            "--all-features",
        ])
        .args(["--profile", PROFILE])
        .env("TIDEWIRE_COMMIT", &release.commit)
        .env("CARGO_ENCODED_RUSTFLAGS", remapped.join("\u{1f}")))?;
    if release.folder.exists() {
        fs::remove_dir_all(&release.folder)
            .with_context(|| format!("cannot remove {}", release.folder.display()))?;
    }
    let inside = release.inside();
    fs::create_dir_all(&inside).with_context(|| format!("cannot make {}", inside.display()))?;
    let built = target()?.join(PROFILE).join("tidewire");
    fs::copy(&built, release.binary())
        .with_context(|| format!("cannot copy {}", built.display()))?;

    let said =
        output(command(release.binary()).arg("--version")).context("the binary does not start")?;
    let expected = format!("tidewire {} ({})", release.version, release.commit);
    if said.trim() != expected {
        bail!(
            "the binary says `{}` and is to say `{expected}`",
            said.trim()
        );
    }
    run(command(release.binary())
        .arg("man")
        .arg(inside.join("man/man1")))?;
    let completions = inside.join("completions");
    fs::create_dir_all(&completions).context("cannot make the folder of completions")?;
    for shell in ["bash", "zsh", "fish"] {
        let script = output(command(release.binary()).args(["completions", shell]))
            .with_context(|| format!("no completions for {shell}"))?;
        fs::write(completions.join(format!("tidewire.{shell}")), script)
            .context("cannot write completions")?;
    }
    let size = fs::metadata(release.binary())?.len() >> 20;
    Ok(Outcome::Noted(format!("{expected}, {size} MiB")))
}

/// Where other people's crates lie; their places are in what they panic with.
fn cargo_home() -> Option<PathBuf> {
    let set = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    set.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))
}

/// The texts of all that is linked in: most licences want to go along.
fn licences(release: &Release) -> Result<Outcome> {
    let file = release.inside().join(LICENCES);
    run(command(tools::cargo_about()?)
        .args(["generate", "--frozen", "--all-features", "--fail"])
        .args(["--manifest-path", "crates/tidewire/Cargo.toml"])
        .args(["--config", "xtask/release/about.toml", "--output-file"])
        .arg(&file)
        .arg("xtask/release/licences.hbs"))?;
    let text =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let crates = text.lines().filter(|line| line.starts_with("- [")).count();
    if crates < 100 {
        bail!("{LICENCES} names {crates} crates: that cannot be all");
    }
    Ok(Outcome::Noted(format!("{crates} uses of a licence")))
}

/// CycloneDX. The program writes it beside each manifest of the workspace; ours alone is kept.
fn materials(release: &Release) -> Result<Outcome> {
    let name = format!("{}.cdx", release.name);
    let result = run(command(tools::cargo_cyclonedx()?)
        .args(["cyclonedx", "--format", "json", "--spec-version", "1.5"])
        .args(["--all-features", "--no-build-deps", "--target", &release.host])
        .args(["--manifest-path", "crates/tidewire/Cargo.toml"])
        .args(["--override-filename", &name])
        // In place of now, so that it can be made again.
        .env("SOURCE_DATE_EPOCH", &release.time));
    let name = format!("{name}.json");
    let text = take_up(&root(), &name, "crates/tidewire");
    result?;
    // Our own crates are named by where they lie, which concerns nobody.
    let text = text?.replace(&root().display().to_string(), "/tidewire");
    let components = text.matches("\"purl\"").count();
    if !text.contains("\"CycloneDX\"") || components < 100 {
        bail!("{name} is no bill of materials");
    }
    fs::write(release.folder.join(&name), text).with_context(|| format!("cannot write {name}"))?;
    Ok(Outcome::Noted(format!("{components} components")))
}

/// What the file of one package says; those of all packages go.
fn take_up(root: &Path, name: &str, package: &str) -> Result<String> {
    let file = root.join(package).join(name);
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()));
    let mut places = vec![root.join("xtask")];
    for entry in fs::read_dir(root.join("crates")).context("cannot read crates")? {
        places.push(entry?.path());
    }
    for place in places {
        let left = place.join(name);
        if left.exists() {
            fs::remove_file(&left).with_context(|| format!("cannot remove {}", left.display()))?;
        }
    }
    text
}

fn archive(release: &Release) -> Result<Outcome> {
    // By git and not by hand: what it ignores, such as an overlay's secrets, must not be given away.
    let along = release.folder.join("along.tar");
    run(command("git")
        .args(["archive", "--format=tar", "--output"])
        .arg(&along)
        .args(["HEAD", "--"])
        .args(ALONG))?;
    run(command("tar")
        .arg("--extract")
        .arg("--directory")
        .arg(release.inside())
        .arg("--file")
        .arg(&along))?;
    fs::remove_file(&along).with_context(|| format!("cannot remove {}", along.display()))?;
    let file = format!("{}.tar.gz", release.name);
    // The same tree gives the same bytes, whoever makes it and when.
    run(command("tar")
        .current_dir(&release.folder)
        .args([
            "--create",
            "--sort=name",
            "--owner=0",
            "--group=0",
            "--numeric-owner",
        ])
        .args([
            "--mode=go=rX,u+rw,a-s",
            &format!("--mtime=@{}", release.time),
        ])
        .args([
            "--use-compress-program=gzip --no-name --best",
            "--file",
            &file,
            &release.name,
        ]))?;
    fs::remove_dir_all(release.inside()).context("cannot remove what is in the archive")?;
    Ok(Outcome::Noted(file))
}

fn checksums(release: &Release) -> Result<Outcome> {
    let mut names = Vec::new();
    for entry in fs::read_dir(&release.folder).context("cannot read what was made")? {
        names.push(entry?.file_name());
    }
    names.sort();
    let sums = output(
        command("sha256sum")
            .current_dir(&release.folder)
            .args(&names),
    );
    let sums = sums.context("sha256sum failed")?;
    fs::write(release.folder.join("SHA256SUMS"), &sums).context("cannot write SHA256SUMS")?;
    print!("{sums}");
    run(command("sha256sum").current_dir(&release.folder).args([
        "--check",
        "--quiet",
        "SHA256SUMS",
    ]))?;
    Ok(Outcome::Noted(release.folder.display().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_along_is_there() {
        for along in ALONG {
            assert!(root().join(along).exists(), "{along}");
        }
    }
}
