//! Each metric is on its page, and nothing speaks of one that is not: the page, the alerts and what scales by a metric go by
//! names that no compiler knows.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::process::root;
use crate::rules;
use crate::source::{Token, tokens};
use crate::steps::Outcome;

const PAGE: &str = "docs/metrics.md";
const PREFIX: &str = "tidewire_";
/// What a histogram is made of.
const PARTS: [&str; 3] = ["_bucket", "_sum", "_count"];

pub fn check() -> Result<Outcome> {
    let root = root();
    let made = made(&root)?;
    let page = read(&root.join(PAGE))?;
    let described: BTreeSet<String> = page.lines().flat_map(described).collect();
    let mut wrong: Vec<String> = made
        .difference(&described)
        .map(|name| format!("{name} is not on {PAGE}"))
        .collect();
    for (place, names) in spoken_of(&root)? {
        let unknown = names
            .iter()
            .filter(|name| !made.contains(whole(name, &made)));
        wrong.extend(unknown.map(|name| format!("{place} speaks of {name}, which nobody makes")));
    }
    for line in &wrong {
        println!("{line}");
    }
    if wrong.is_empty() {
        Ok(Outcome::Noted(format!("{} metrics on {PAGE}", made.len())))
    } else {
        bail!("{} names of metrics are out of step", wrong.len())
    }
}

/// The names that what is shipped uses.
fn made(root: &Path) -> Result<BTreeSet<String>> {
    let mut files = Vec::new();
    rules::collect(&root.join("crates"), &mut files)?;
    let mut made = BTreeSet::new();
    for file in files {
        if file.components().any(|part| part.as_os_str() == "src") {
            made.extend(literals(&read(&file)?));
        }
    }
    Ok(made)
}

fn literals(source: &str) -> Vec<String> {
    tokens(source)
        .into_iter()
        .filter_map(|(_, token)| match token {
            Token::Text(text) if is_metric(text) => Some(text.to_owned()),
            _ => None,
        })
        .collect()
}

fn is_metric(text: &str) -> bool {
    text.strip_prefix(PREFIX).is_some_and(|rest| {
        !rest.is_empty()
            && rest
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    })
}

/// The names in the first column of a table's row.
fn described(line: &str) -> Vec<String> {
    let first = line.strip_prefix('|').and_then(|row| row.split('|').next());
    first.map_or_else(Vec::new, names)
}

/// Everything in a text that could be a metric's name.
fn names(text: &str) -> Vec<String> {
    text.split(|c: char| !(c.is_ascii_lowercase() || c == '_'))
        .filter(|word| is_metric(word))
        .map(str::to_owned)
        .collect()
}

/// The histogram of which this is a part, or the metric itself.
fn whole<'a>(name: &'a str, made: &BTreeSet<String>) -> &'a str {
    PARTS
        .iter()
        .filter_map(|part| name.strip_suffix(part))
        .find(|whole| made.contains(*whole))
        .unwrap_or(name)
}

/// The page, and what is deployed.
fn spoken_of(root: &Path) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let mut files = vec![root.join(PAGE)];
    everything(&root.join("deploy"), &mut files)?;
    let mut spoken = BTreeMap::new();
    for file in files {
        let place = file.strip_prefix(root).unwrap_or(&file);
        let found = names(&read(&file)?).into_iter().collect();
        spoken.insert(place.display().to_string(), found);
    }
    Ok(spoken)
}

fn everything(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            everything(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_what_comments_and_sentences_say() {
        let source = r#"
            // "tidewire_in_comments_total"
            counter!("tidewire_jobs_done_total", "outcome" => "done");
            tracing::info!(target: "tidewire::jobs", "tidewire_jobs_done_total went up");
        "#;
        assert_eq!(literals(source), ["tidewire_jobs_done_total"]);
        assert_eq!(
            described("| `tidewire_a_total`, `tidewire_b_total` | see `tidewire_c_total` |"),
            ["tidewire_a_total", "tidewire_b_total"]
        );
    }

    #[test]
    fn a_part_of_a_histogram_is_known_by_the_whole() {
        let made = BTreeSet::from(["tidewire_job_run_seconds".to_owned()]);
        let found = names("rate(tidewire_job_run_seconds_bucket[5m]) / tidewire_jobs_count");
        let wholes: Vec<_> = found.iter().map(|name| whole(name, &made)).collect();
        assert_eq!(wholes, ["tidewire_job_run_seconds", "tidewire_jobs_count"]);
    }

    #[test]
    fn this_very_repository_is_in_step() {
        check().expect("every name is known");
    }
}
