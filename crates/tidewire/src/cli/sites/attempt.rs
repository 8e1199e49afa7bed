//! `tidewire sites try`: a definition's first page, and the events that it would make.

use std::{fs, path::Path};

use tidewire_outbound::{AddressPolicy, Client, ClientOptions};
use tidewire_sites::{
    AccessKey, Trial,
    source::{Source, Sources},
};

use super::super::{
    Fault,
    output::{Printer, Rows, at, preview, tell},
};

#[derive(clap::Args)]
pub(super) struct Args {
    /// A definition's file, or a kind that comes along: builder, stripe, github
    #[arg(value_name = "FILE|KIND")]
    definition: String,
    /// Which of its lists
    #[arg(long, value_name = "LIST")]
    resource: String,
    /// The site's id at its source
    #[arg(long, value_name = "SITE", default_value = "site")]
    site: String,
    /// The definition's own if it is missing
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// The source's key for the site
    #[arg(
        long,
        value_name = "KEY",
        env = "TIDEWIRE_ACCESS_KEY",
        default_value = "none",
        hide_env_values = true
    )]
    access_key: String,
}

pub(super) async fn run(args: Args, printer: Printer) -> Result<(), Fault> {
    let source = definition(&args.definition)?;
    if source.resource(&args.resource).is_none() {
        return Err(Fault::Usage(format!(
            "--resource `{}`: {} has {}",
            args.resource,
            args.definition,
            source.names().join(", ")
        )));
    }
    // It calls from here, where whoever runs it may call anything anyway.
    let everywhere = ["0.0.0.0/0", "::/0"].map(|subnet| subnet.parse().expect("it is a subnet"));
    let client = Client::new(ClientOptions {
        policy: AddressPolicy::allowing(everywhere),
        ..ClientOptions::default()
    });
    let trial = Trial {
        source: &source,
        resource: &args.resource,
        site_id: &args.site,
        base_url: args.base_url.as_deref(),
        access_key: AccessKey::new(args.access_key),
        client: &client.map_err(Fault::failed)?,
    };
    let page = trial.run().await.map_err(Fault::failed)?;
    if printer.is_json() {
        return printer.json(&page);
    }
    let mut rows = Rows::new(["TYPE", "DEDUPE KEY", "SUBJECT", "OCCURRED AT", "RECORD"]);
    for event in &page.events {
        rows.add([
            event.kind.clone(),
            event.dedupe_key.clone(),
            event.subject.clone().unwrap_or_else(|| "-".to_owned()),
            at(event.occurred_at).unwrap_or_else(|| "-".to_owned()),
            preview(event.record.get()),
        ]);
    }
    rows.print(printer)?;
    for why in &page.skipped {
        tell(&format!("makes no event: {why}"));
    }
    let of = page
        .total
        .map_or(String::new(), |total| format!(" of {total}"));
    let more = match page.has_more {
        true => "there are more pages",
        false => "that is all",
    };
    tell(&format!(
        "{} records{of}; {more}; nothing was stored",
        page.records
    ));
    Ok(())
}

fn definition(named: &str) -> Result<Source, Fault> {
    let shipped = Sources::shipped();
    if let Some(source) = shipped.get(named)
        && !Path::new(named).exists()
    {
        return Ok((**source).clone());
    }
    let text = fs::read_to_string(named)
        .map_err(|error| Fault::Failed(format!("cannot read `{named}`: {error}")))?;
    Source::read(named, &text).map_err(Fault::failed)
}
