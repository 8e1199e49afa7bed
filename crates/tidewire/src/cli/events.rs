//! `tidewire events`: append, import, list, tail.

use std::time::Duration;

use clap::Subcommand;
use tidewire_client::{Client, Event, EventQuery, NewEvent, TailQuery};
use tidewire_core::{Time, duration};

use super::{
    Fault, import,
    output::{self, Printer, Rows, clean, preview, tell},
    paging::Paging,
    parse_time, payload,
};

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Store one event
    #[command(after_help = "\
Examples:
  tidewire events append user.signed-up --payload '{\"plan\":\"free\"}' --subject ann
  tidewire events append invoice --payload @invoice.json --dedupe-key invoice-2026-17
  date +%s | tidewire events append heartbeat --payload - --stream clocks")]
    Append(Append),
    /// Store many events from a file, one JSON object a line
    Import(import::Args),
    /// List events, newest first
    #[command(after_help = "\
Examples:
  tidewire events list --type user.signed-up --limit 10
  tidewire events list --from 2026-01-01T00:00:00Z --all -o json > events.jsonl")]
    List(List),
    /// Follow the log; reconnects by itself and neither skips nor repeats an event
    #[command(after_help = "\
Examples:
  tidewire events tail
  tidewire events tail --after 0 --stream orders -o json | jq .payload
  tidewire events tail --after 01J9ZQ3D6T0000000000000000")]
    Tail(Tail),
}

#[derive(clap::Args)]
struct Append {
    /// 1 to 255 characters of [A-Za-z0-9._:-]
    #[arg(value_name = "TYPE")]
    event_type: String,
    /// JSON, @FILE, or - for standard input; {} if it is missing
    #[arg(long, value_name = "JSON|@FILE|-", allow_hyphen_values = true)]
    payload: Option<String>,
    /// The stream to append to; `default` if it is missing
    #[arg(long)]
    stream: Option<String>,
    /// Whom or what the event is about
    #[arg(long)]
    subject: Option<String>,
    /// Of events with the same key only the first is stored
    #[arg(long, value_name = "KEY")]
    dedupe_key: Option<String>,
    /// Who says so
    #[arg(long)]
    source: Option<String>,
    /// When it happened, such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    occurred_at: Option<Time>,
    /// Store it only if this is the stream's last number (0: it is empty)
    #[arg(long, value_name = "SEQ")]
    expected_seq: Option<u64>,
}

#[derive(clap::Args)]
struct List {
    /// Only events of this type
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Only events of this stream
    #[arg(long)]
    stream: Option<String>,
    /// Only events about this subject
    #[arg(long)]
    subject: Option<String>,
    /// Only events from this source
    #[arg(long)]
    source: Option<String>,
    /// Only events stored at or after this time
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    from: Option<Time>,
    /// Only events stored at or before this time
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    to: Option<Time>,
    #[command(flatten)]
    page: Paging,
}

#[derive(clap::Args)]
struct Tail {
    /// Start behind this event's id; 0 is the start of the log; from now if it is missing
    #[arg(long, value_name = "ID|0")]
    after: Option<String>,
    /// Only events of this type
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Only events of this stream
    #[arg(long)]
    stream: Option<String>,
}

pub(super) async fn run(args: Args, client: Client, printer: Printer) -> Result<(), Fault> {
    match args.action {
        Action::Append(args) => append(args, &client, printer).await,
        Action::Import(args) => import::run(args, client, printer).await,
        Action::List(args) => list(args, &client, printer).await,
        Action::Tail(args) => tail(args, &client, printer).await,
    }
}

async fn append(args: Append, client: &Client, printer: Printer) -> Result<(), Fault> {
    let event = NewEvent {
        payload: args.payload.as_deref().map(payload::read).transpose()?,
        stream: args.stream,
        subject: args.subject,
        dedupe_key: args.dedupe_key,
        source: args.source,
        occurred_at: args.occurred_at,
        expected_seq: args.expected_seq,
        ..NewEvent::new(args.event_type)
    };
    let stored = client.events().append(&event).await?;
    if printer.is_json() {
        return printer.json(&stored);
    }
    let what = if stored.duplicated {
        "was stored before"
    } else {
        "is stored"
    };
    let text = format!(
        "{} {what}: number {} of stream {}",
        stored.id, stored.seq, stored.stream
    );
    printer.line(&clean(&text))
}

async fn list(args: List, client: &Client, printer: Printer) -> Result<(), Fault> {
    let query = EventQuery {
        event_type: args.event_type,
        stream: args.stream,
        subject: args.subject,
        source: args.source,
        from: args.from,
        to: args.to,
        ..EventQuery::default()
    };
    let rows = Rows::new([
        "CREATED AT",
        "ID",
        "STREAM",
        "SEQ",
        "TYPE",
        "SUBJECT",
        "PAYLOAD",
    ]);
    let fetch = async |limit, cursor| {
        let query = EventQuery {
            limit,
            cursor,
            ..query.clone()
        };
        client.events().list(&query).await
    };
    args.page.print(printer, "events", rows, row, fetch).await
}

fn row(rows: &mut Rows, event: &Event) {
    rows.add([
        event.created_at.to_string(),
        event.id.clone(),
        event.stream.clone(),
        event.seq.to_string(),
        event.event_type.clone(),
        event.subject.clone().unwrap_or_else(|| "-".to_owned()),
        preview(event.payload.get()),
    ]);
}

async fn tail(args: Tail, client: &Client, printer: Printer) -> Result<(), Fault> {
    let query = TailQuery {
        event_type: args.event_type,
        stream: args.stream,
        after: args.after,
    };
    let mut tail = client.events().tail(query).on_disconnect(tell_lost);
    let follow = async {
        tail.connect().await?;
        if !printer.is_json() && output::is_terminal() {
            tell("following the log; Ctrl-C stops");
        }
        while let Some(next) = tail.next().await {
            let event = next?.event;
            if printer.is_json() {
                printer.json(&event)?;
            } else {
                printer.line(&clean(&line(&event)))?;
            }
        }
        Ok(())
    };
    tokio::select! {
        ended = follow => ended,
        // Both are the usual ends of following.
        _ = tokio::signal::ctrl_c() => Ok(()),
        () = output::closed() => Err(Fault::ClosedPipe),
    }
}

/// Says that a stream is not connected, and for how long.
pub(super) fn tell_lost(error: &tidewire_client::Error, wait: Duration) {
    // As short as waits are, whole seconds would read as none.
    let wait = duration::format(Duration::from_millis(wait.as_millis() as u64));
    tell(&format!("{error}; connecting again in {wait}"));
}

/// One event for a person: on a terminal only the start of its payload.
fn line(event: &Event) -> String {
    let payload = output::shown(event.payload.get());
    let Event {
        created_at,
        stream,
        seq,
        event_type,
        ..
    } = event;
    let subject = event.subject.as_deref().unwrap_or("-");
    format!("{created_at}  {stream} {seq}  {event_type}  {subject}  {payload}")
}
