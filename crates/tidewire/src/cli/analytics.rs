//! `tidewire analytics`: daily counts.

use chrono::NaiveDate;
use clap::Subcommand;
use tidewire_client::Client;

use super::{
    Fault,
    output::{Printer, Rows},
    parse_day,
};

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Counts of a range of days together
    Summary(Range),
    /// Counts of each day of a range
    #[command(after_help = "\
Example:
  tidewire analytics timeseries --from 2026-01-01 --to 2026-01-31")]
    Timeseries(Range),
}

#[derive(clap::Args)]
struct Range {
    /// The first day (UTC); 29 days before the last one if it is missing
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = parse_day)]
    from: Option<NaiveDate>,
    /// The last day (UTC), inclusive; today if it is missing
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = parse_day)]
    to: Option<NaiveDate>,
}

pub(super) async fn run(args: Args, client: Client, printer: Printer) -> Result<(), Fault> {
    match args.action {
        Action::Summary(Range { from, to }) => {
            let summary = client.analytics().summary(from, to).await?;
            if printer.is_json() {
                return printer.json(&summary);
            }
            printer.facts(&[
                ("from", Some(summary.from.to_string())),
                ("to", Some(summary.to.to_string())),
                ("events received", Some(summary.events_received.to_string())),
                ("jobs done", Some(summary.jobs_done.to_string())),
                ("jobs failed", Some(summary.jobs_failed.to_string())),
            ])
        }
        Action::Timeseries(Range { from, to }) => {
            let series = client.analytics().timeseries(from, to).await?;
            if printer.is_json() {
                return printer.json(&series);
            }
            let mut rows = Rows::new(["DAY", "EVENTS RECEIVED", "JOBS DONE", "JOBS FAILED"]);
            for day in series.days {
                rows.add([
                    day.day.to_string(),
                    day.events_received.to_string(),
                    day.jobs_done.to_string(),
                    day.jobs_failed.to_string(),
                ]);
            }
            rows.print(printer)
        }
    }
}
