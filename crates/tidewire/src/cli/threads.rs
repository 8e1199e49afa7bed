//! `tidewire threads`: what was said in them, and what is being said.

use std::time::Duration;

use clap::Subcommand;
use tidewire_client::{Client, Thread, ThreadEvent, ThreadEventQuery, ThreadStream};
use tidewire_core::duration;

use super::{
    Fault,
    events::tell_lost,
    output::{self, Printer, Rows, at, clean, preview, tell},
    paging::Paging,
};

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List threads, newest first
    List {
        #[command(flatten)]
        page: Paging,
    },
    /// Show a thread
    Show {
        #[arg(value_name = "THREAD")]
        id: String,
    },
    /// Read a thread's events in their order
    #[command(after_help = "\
Examples:
  tidewire threads events support-17
  tidewire threads events support-17 --after 120 --wait 30s
  tidewire threads events support-17 --all -o json > support-17.jsonl")]
    Events(Events),
    /// Follow a thread; reconnects by itself and neither skips nor repeats an event
    #[command(after_help = "\
Examples:
  tidewire threads tail support-17
  tidewire threads tail support-17 --after 0 -o json | jq .payload
  tidewire threads tail support-17 --turn 01J9ZQ3D6T0000000000000000")]
    Tail(Tail),
}

#[derive(clap::Args)]
struct Events {
    #[arg(value_name = "THREAD")]
    id: String,
    /// Only events behind this number
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    after: u64,
    /// How many, at most 5000; 500 if it is missing (of a page, with --all)
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=5000))]
    limit: Option<u32>,
    /// All of them; as JSON, one document a line
    #[arg(long)]
    all: bool,
    /// Wait so long for an event if there is none, such as 30s
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, conflicts_with = "all")]
    wait: Option<Duration>,
}

#[derive(clap::Args)]
struct Tail {
    #[arg(value_name = "THREAD")]
    id: String,
    /// Start behind this number; 0 is the thread's start; from now if it is missing, or with --turn
    /// from the thread's start
    #[arg(long, value_name = "SEQ")]
    after: Option<u64>,
    /// Only events of this turn; ends when the turn has ended
    #[arg(long, value_name = "ID")]
    turn: Option<String>,
}

pub(super) async fn run(args: Args, client: Client, printer: Printer) -> Result<(), Fault> {
    match args.action {
        Action::List { page } => list(page, &client, printer).await,
        Action::Show { id } => show(&client.threads().get(&id).await?, printer),
        Action::Events(args) => events(args, &client, printer).await,
        Action::Tail(args) => tail(args, &client, printer).await,
    }
}

async fn list(page: Paging, client: &Client, printer: Printer) -> Result<(), Fault> {
    let rows = Rows::new(["THREAD", "STATUS", "LAST SEQ", "CREATED AT", "UPDATED AT"]);
    let row = |rows: &mut Rows, thread: &Thread| {
        rows.add([
            thread.thread_id.clone(),
            thread.status.to_string(),
            thread.last_seq.to_string(),
            at(thread.created_at).unwrap_or_default(),
            at(thread.updated_at).unwrap_or_default(),
        ]);
    };
    let fetch =
        async |limit, cursor: Option<String>| client.threads().list(limit, cursor.as_deref()).await;
    page.print(printer, "threads", rows, row, fetch).await
}

fn show(thread: &Thread, printer: Printer) -> Result<(), Fault> {
    if printer.is_json() {
        return printer.json(thread);
    }
    let idle = thread.idle_timeout_seconds.map(Duration::from_secs);
    printer.facts(&[
        ("id", Some(thread.thread_id.clone())),
        ("status", Some(thread.status.to_string())),
        ("last seq", Some(thread.last_seq.to_string())),
        ("idle after", idle.map(duration::format)),
        ("created at", at(thread.created_at)),
        ("updated at", at(thread.updated_at)),
    ])
}

async fn events(args: Events, client: &Client, printer: Printer) -> Result<(), Fault> {
    let mut query = ThreadEventQuery {
        from_seq: args.after,
        limit: args.limit.or(args.all.then_some(5000)),
        wait_seconds: args.wait.map(|wait| wait.as_secs()),
    };
    let mut rows = Rows::new(["TS", "SEQ", "TYPE", "TURN", "LEVEL", "PAYLOAD"]);
    loop {
        let events = client.threads().events(&args.id, &query).await?;
        let last = events.last().map(|event| event.seq);
        match (printer.is_json(), args.all) {
            (true, true) => events.iter().try_for_each(|event| printer.json(event))?,
            (true, false) => {
                return printer.json(&std::collections::BTreeMap::from([("events", &events)]));
            }
            (false, _) => {
                events.iter().for_each(|event| row(&mut rows, event));
                rows.print(printer)?;
            }
        }
        match last {
            Some(last) if args.all => query.from_seq = last,
            Some(last) if events.len() >= query.limit.unwrap_or(500) as usize => {
                tell(&format!("there may be more: add --all, or --after {last}"));
                return Ok(());
            }
            _ => return Ok(()),
        }
    }
}

fn row(rows: &mut Rows, event: &ThreadEvent) {
    rows.add([
        event.ts.to_string(),
        event.seq.to_string(),
        event.event_type.clone(),
        event.turn_id.clone().unwrap_or_else(|| "-".to_owned()),
        event.level.to_string(),
        preview(event.payload.get()),
    ]);
}

async fn tail(args: Tail, client: &Client, printer: Printer) -> Result<(), Fault> {
    let after = match (args.after, &args.turn) {
        (Some(after), _) => after,
        (None, Some(_)) => 0,
        (None, None) => client.threads().get(&args.id).await?.last_seq,
    };
    let stream = client
        .threads()
        .follow(&args.id, after, args.turn.as_deref());
    if !printer.is_json() && output::is_terminal() {
        tell("following the thread; Ctrl-C stops");
    }
    let ended = each(stream, |event| {
        if printer.is_json() {
            printer.json(event)
        } else {
            printer.line(&clean(&line(event)))
        }
    });
    tokio::select! {
        ended = ended => ended,
        // The usual end of following.
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

/// Shows events as they come, until the stream ends or nobody reads any more.
pub(super) async fn each(
    stream: ThreadStream,
    mut show: impl FnMut(&ThreadEvent) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut stream = stream.on_disconnect(tell_lost);
    let follow = async {
        while let Some(event) = stream.next().await {
            show(&event?)?;
        }
        Ok(())
    };
    tokio::select! {
        ended = follow => ended,
        () = output::closed() => Err(Fault::ClosedPipe),
    }
}

/// One event for a person.
fn line(event: &ThreadEvent) -> String {
    let payload = output::shown(event.payload.get());
    let turn = event.turn_id.as_deref().unwrap_or("-");
    let ThreadEvent {
        ts,
        thread_id,
        seq,
        event_type,
        ..
    } = event;
    format!("{ts}  {thread_id} {seq}  {event_type}  {turn}  {payload}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_one_line() {
        let event = json!({
            "event_id": "e", "thread_id": "t", "turn_id": null, "seq": 7, "ts": "2026-01-31T12:00:00Z",
            "type": "custom", "payload": { "text": "a\nb" },
        });
        let event: ThreadEvent = serde_json::from_value(event).unwrap();
        assert_eq!(
            line(&event),
            "2026-01-31T12:00:00.000000Z  t 7  custom  -  {\"text\":\"a\\nb\"}"
        );
    }
}
