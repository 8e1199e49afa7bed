//! Prints the definitions of our resources as YAML, each as a document with the name of its file before it.
//! `cargo xtask crds` writes them where they are deployed from.

use std::io::Write as _;

use kube::CustomResourceExt as _;
use serde_saphyr::SerializerOptions;
use tidewire_operator::kubernetes::{AgentTemplate, AgentThread};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // As the other manifests are written, for the same linter.
    let mut options = SerializerOptions::default();
    options.compact_list_indent = false;
    let mut out = std::io::stdout().lock();
    for (file, crd) in [
        ("agenttemplates.yaml", AgentTemplate::crd()),
        ("agentthreads.yaml", AgentThread::crd()),
    ] {
        // By way of a value: its maps are sorted, so that nothing moves about.
        let sorted = serde_json::to_value(&crd)?;
        writeln!(out, "--- {file}")?;
        write!(
            out,
            "{}",
            serde_saphyr::to_string_with_options(&sorted, options.clone())?
        )?;
    }
    Ok(())
}
