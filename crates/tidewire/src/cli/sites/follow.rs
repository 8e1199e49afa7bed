//! Syncing, and looking on.

use std::{io::IsTerminal as _, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::value::RawValue;
use tidewire_client::{Client, Job, JobStatus, SyncOutput, SyncReport};
use tokio::time::sleep;

use super::super::{
    Fault,
    output::{Printer, Rows, clean, tell},
};

const LOOK_FIRST: Duration = Duration::from_millis(25);
const LOOK_LAST: Duration = Duration::from_millis(200);

#[derive(clap::Args)]
pub(super) struct Args {
    #[arg(value_name = "SITE")]
    id: String,
    /// Which of its lists; all of them if none is named
    #[arg(value_name = "LIST")]
    resources: Vec<String>,
    /// Show how far it is, until it has ended; exit status 1 if it failed
    #[arg(long)]
    follow: bool,
}

pub(super) async fn run(args: Args, client: &Client, printer: Printer) -> Result<(), Fault> {
    let lists = if args.resources.is_empty() {
        let site = client.sites().get(&args.id).await?;
        let lists = site.resources.unwrap_or_default().into_iter();
        lists.map(|list| list.resource).collect()
    } else {
        args.resources
    };
    let mut rows = Rows::new([
        "LIST",
        "PAGES",
        "FETCHED",
        "INSERTED",
        "DUPLICATES",
        "SKIPPED",
        "MS",
    ]);
    let mut failed = false;
    for list in lists {
        let job = client.sites().sync(&args.id, &list).await?;
        if !args.follow {
            match printer.is_json() {
                true => printer.json(&job)?,
                false => printer.line(&format!("{} syncs {}", job.id, clean(&list)))?,
            }
            continue;
        }
        let job = followed(job, &args.id, &list, client).await?;
        if job.status != JobStatus::Done {
            let why = job.last_error.as_deref().unwrap_or_default();
            tell(&format!(
                "{list} was not synced: it is {}: {why}",
                job.status
            ));
            failed = true;
            continue;
        }
        let report = last(job.output.as_deref()).unwrap_or_default();
        if printer.is_json() {
            printer.json(&report)?;
        } else {
            rows.add([
                report.resource,
                report.pages.to_string(),
                report.fetched.to_string(),
                report.inserted.to_string(),
                report.duplicates.to_string(),
                report.skipped.to_string(),
                report.duration_ms.to_string(),
            ]);
            rows.print(printer)?;
        }
        if let Some(why) = report.skipped_because {
            tell(&format!("{} records were left out: {why}", report.skipped));
        }
    }
    if failed { Err(Fault::Told) } else { Ok(()) }
}

/// Looks on until a site's job has ended. How far its list is says the site, which knows it page by page.
pub(in crate::cli) async fn followed(
    mut job: Job,
    site: &str,
    list: &str,
    client: &Client,
) -> Result<Job, Fault> {
    let bar = bar(list);
    let mut pause = LOOK_FIRST;
    while !job.status.is_final() {
        sleep(pause).await;
        pause = (pause * 2).min(LOOK_LAST);
        job = client.jobs().get(&job.id).await?;
        // Of a site that is removed meanwhile, the job says what became of it.
        let lists = client.sites().get(site).await.ok();
        let lists = lists.and_then(|site| site.resources).unwrap_or_default();
        let report = lists
            .into_iter()
            .find(|known| known.is_open && known.resource == list)
            .and_then(|known| known.report);
        if let Some(report) = report {
            if let Some(total) = report.total {
                bar.set_length(total.max(report.fetched));
            }
            bar.set_position(report.fetched);
            bar.set_message(format!("{} new", report.inserted));
        }
    }
    bar.finish_and_clear();
    Ok(job)
}

fn bar(list: &str) -> ProgressBar {
    let is_terminal = std::io::stderr().is_terminal();
    let target = if is_terminal {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(None, target);
    let template = "{prefix} {wide_bar} {pos}/{len}  {msg}  {per_sec}  {eta} left";
    bar.set_style(ProgressStyle::with_template(template).expect("the template is a constant"));
    bar.set_prefix(clean(list).into_owned());
    if is_terminal {
        bar.enable_steady_tick(Duration::from_millis(200));
    }
    bar
}

/// What a job says of its last list.
pub(in crate::cli) fn last(said: Option<&RawValue>) -> Option<SyncReport> {
    let said: SyncOutput = serde_json::from_str(said?.get()).ok()?;
    said.syncs.into_iter().next_back()
}
