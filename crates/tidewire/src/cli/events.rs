//! `tidewire events`: append, import, list, tail.

use clap::Subcommand;
use serde_json::json;
use tidewire_client::{Client, Event, EventQuery, NewEvent, TailQuery};
use tidewire_core::{Time, duration};

use super::{
    Fault, import,
    output::{self, Printer, Rows, clean, preview, tell},
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

/// How much of a list is shown.
#[derive(clap::Args)]
pub(super) struct Paging {
    /// How many, at most 500 (of a page, with --all)
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub limit: Option<u32>,
    /// Go on behind an earlier answer's `next_cursor`
    #[arg(long)]
    pub cursor: Option<String>,
    /// The whole list; as JSON, one document a line
    #[arg(long)]
    pub all: bool,
}

impl Paging {
    /// Fewer and larger pages, where nobody said how large.
    pub fn page_size(&self) -> Option<u32> {
        self.limit.or(self.all.then_some(500))
    }

    /// Says where a list goes on.
    pub fn tell_more(next_cursor: Option<&str>) {
        if let Some(cursor) = next_cursor {
            tell(&format!("there is more: add --all, or --cursor {cursor}"));
        }
    }
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
        limit: args.page.page_size(),
        cursor: args.page.cursor,
    };
    let mut rows = Rows::new([
        "CREATED AT",
        "ID",
        "STREAM",
        "SEQ",
        "TYPE",
        "SUBJECT",
        "PAYLOAD",
    ]);
    if args.page.all {
        let mut pages = client.events().pages(query);
        while let Some(events) = pages.next_page().await? {
            if printer.is_json() {
                events.iter().try_for_each(|event| printer.json(event))?;
            } else {
                print(&mut rows, &events, printer)?;
            }
        }
        return Ok(());
    }
    let page = client.events().list(&query).await?;
    if printer.is_json() {
        return printer.json(&json_page(
            "events",
            &page.items,
            page.next_cursor.as_deref(),
        )?);
    }
    print(&mut rows, &page.items, printer)?;
    Paging::tell_more(page.next_cursor.as_deref());
    Ok(())
}

/// A page as the API writes it. Through raw text: a `Value` would lose digits.
pub(super) fn json_page<T: serde::Serialize>(
    name: &str,
    items: &[T],
    next_cursor: Option<&str>,
) -> Result<Box<serde_json::value::RawValue>, Fault> {
    let write = || {
        let items = serde_json::to_string(items)?;
        let text = format!(
            "{{{}:{items},\"next_cursor\":{}}}",
            json!(name),
            json!(next_cursor)
        );
        serde_json::value::RawValue::from_string(text)
    };
    write().map_err(|error| Fault::failed(format_args!("cannot write the output as JSON: {error}")))
}

fn print(rows: &mut Rows, events: &[Event], printer: Printer) -> Result<(), Fault> {
    for event in events {
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
    rows.print(printer)
}

async fn tail(args: Tail, client: &Client, printer: Printer) -> Result<(), Fault> {
    let query = TailQuery {
        event_type: args.event_type,
        stream: args.stream,
        after: args.after,
    };
    let mut tail = client.events().tail(query).on_disconnect(|error, wait| {
        // As short as waits are, whole seconds would read as none.
        let wait = duration::format(std::time::Duration::from_millis(wait.as_millis() as u64));
        tell(&format!("{error}; connecting again in {wait}"));
    });
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

/// One event for a person: on a terminal only the start of its payload.
fn line(event: &Event) -> String {
    let payload = if output::is_terminal() {
        preview(event.payload.get())
    } else {
        output::compact(event.payload.get())
    };
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
