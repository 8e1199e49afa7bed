//! `tidewire turns`: start, list, cancel, and see the answer as it comes.

pub(super) mod answer;

use std::io::{IsTerminal as _, Write as _};

use clap::{Subcommand, ValueEnum};
use serde_json::value::{RawValue, to_raw_value};
use tidewire_client::{Client, NewTurn, OnBusy, ThreadEvent, TurnRecord};
use tidewire_core::{Clock, ids};

use super::{
    Fault,
    output::{self, Format, Printer, Rows, at, clean, preview, tell},
    paging::Paging,
    payload, threads,
};
use answer::{Answer, Said};

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Start a turn
    #[command(after_help = "\
Examples:
  tidewire turns start 'what is 6 * 7?' --follow
  tidewire turns start --thread support-17 --agent support 'and by train?' -f
  git diff | tidewire turns start --agent reviewer - --follow > review.txt
  tidewire turns start '{\"tool\": \"calculator\", \"expression\": \"2 * (3 + 4)\"}' --follow --json")]
    Start(Start),
    /// List a thread's turns, newest first
    List {
        /// The thread
        #[arg(long, value_name = "ID")]
        thread: String,
        #[command(flatten)]
        page: Paging,
    },
    /// Cancel turns; their agents are told
    Cancel {
        #[arg(required = true, value_name = "TURN")]
        ids: Vec<String>,
        /// The thread that they are turns of
        #[arg(long, value_name = "ID")]
        thread: String,
    },
}

#[derive(clap::Args)]
struct Start {
    /// What is said to the agent: text, a JSON object or array, or - for standard input
    input: String,
    /// The thread that it goes on with; a new one if it is missing
    #[arg(long, value_name = "ID")]
    thread: Option<String>,
    /// The turn's id; of turns of a thread with the same id only the first is started
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Whose turn it is; of agents without a name if it is missing
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// What becomes of it while another turn of the thread is open; it waits if this is missing
    #[arg(long, value_enum)]
    on_busy: Option<Busy>,
    /// The same key and turn give the first answer again, for 24 hours
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Print the answer as it comes; exit status 1 if the turn fails or is cancelled
    #[arg(long, short)]
    follow: bool,
    /// With --follow the events themselves, one JSON document a line; as `-o json`
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Busy {
    Enqueue,
    Reject,
    Interrupt,
}

impl From<Busy> for OnBusy {
    fn from(busy: Busy) -> Self {
        match busy {
            Busy::Enqueue => OnBusy::Enqueue,
            Busy::Reject => OnBusy::Reject,
            Busy::Interrupt => OnBusy::Interrupt,
        }
    }
}

pub(super) async fn run(args: Args, client: Client, printer: Printer) -> Result<(), Fault> {
    match args.action {
        Action::Start(args) => {
            let printer = if args.json {
                Printer::new(Format::Json)
            } else {
                printer
            };
            start(args, &client, printer).await
        }
        Action::List { thread, page } => list(&thread, page, &client, printer).await,
        Action::Cancel { ids, thread } => cancel(&ids, &thread, &client, printer).await,
    }
}

async fn start(args: Start, client: &Client, printer: Printer) -> Result<(), Fault> {
    let text = match args.input.as_str() {
        "-" => payload::piped("input")?,
        _ => args.input,
    };
    let turn = NewTurn {
        thread_id: args.thread,
        turn_id: args.id,
        input: input(&text)?,
        agent: args.agent,
        on_busy: args.on_busy.map(Into::into),
    };
    // With a key of its own a start whose answer got lost can be asked for again.
    let key = args
        .idempotency_key
        .unwrap_or_else(|| ids::new_id(&Clock::system()));
    let accepted = client.turns().start(&turn, Some(&key)).await?;
    let (thread, id) = (&accepted.thread_id, &accepted.turn_id);
    if !args.follow {
        if printer.is_json() {
            return printer.json(&accepted);
        }
        let text = format!("{id} is {}: thread {thread}", accepted.status);
        return printer.line(&clean(&text));
    }
    if turn.thread_id.is_none() {
        tell(&format!("thread {thread}"));
    }
    let from = accepted.seq.saturating_sub(1);
    let mut end = None;
    let mut show = Show::new(printer);
    let events = client.threads().follow(thread, from, Some(id));
    threads::each(events, |event| {
        end = end.take().or(answer::end(event));
        show.event(event)
    })
    .await?;
    match end {
        Some(end) => end.map_err(|why| Fault::Failed(format!("the turn {id} {why}"))),
        None => Err(Fault::Failed(format!(
            "the events of the turn {id} end before it does"
        ))),
    }
}

/// What a person typed: JSON where it is an object or an array, else text.
fn input(given: &str) -> Result<Box<RawValue>, Fault> {
    let given = given.trim_end_matches(['\n', '\r']);
    let text = given.trim();
    if text.starts_with(['{', '['])
        && let Ok(json) = RawValue::from_string(text.to_owned())
    {
        return Ok(json);
    }
    to_raw_value(given)
        .map_err(|error| Fault::failed(format_args!("cannot write the input as JSON: {error}")))
}

/// Prints a turn as it comes.
struct Show {
    printer: Printer,
    answer: Answer,
    /// Whether the terminal is in the middle of a line of the answer.
    shares_line: bool,
    is_dim: bool,
}

impl Show {
    fn new(printer: Printer) -> Self {
        Show {
            printer,
            answer: Answer::default(),
            shares_line: false,
            is_dim: std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        }
    }

    fn event(&mut self, event: &ThreadEvent) -> Result<(), Fault> {
        if self.printer.is_json() {
            return self.printer.json(event);
        }
        for said in self.answer.hear(event) {
            match said {
                Said::Text(text) => {
                    self.printer.bytes(output::clean_lines(&text).as_bytes())?;
                    self.shares_line = output::is_terminal() && !text.ends_with('\n');
                }
                Said::Aside(text) => self.aside(&text)?,
            }
        }
        Ok(())
    }

    fn aside(&mut self, text: &str) -> Result<(), Fault> {
        if std::mem::take(&mut self.shares_line) {
            self.printer.bytes(b"\n")?;
        }
        if self.is_dim {
            // Nobody may be there to be told.
            let _ = writeln!(std::io::stderr().lock(), "\x1b[2m{}\x1b[0m", clean(text));
        } else {
            tell(text);
        }
        Ok(())
    }
}

async fn list(thread: &str, page: Paging, client: &Client, printer: Printer) -> Result<(), Fault> {
    let rows = Rows::new(["TURN", "STATUS", "AGENT", "CREATED AT", "INPUT"]);
    let row = |rows: &mut Rows, turn: &TurnRecord| {
        rows.add([
            turn.turn_id.clone(),
            turn.status.to_string(),
            turn.agent.clone().unwrap_or_else(|| "-".to_owned()),
            at(turn.created_at).unwrap_or_default(),
            preview(turn.input.get()),
        ]);
    };
    let fetch = async |limit, cursor: Option<String>| {
        let threads = client.threads();
        threads.turns(thread, limit, cursor.as_deref()).await
    };
    page.print(printer, "turns", rows, row, fetch).await
}

async fn cancel(
    ids: &[String],
    thread: &str,
    client: &Client,
    printer: Printer,
) -> Result<(), Fault> {
    let mut failed = false;
    for id in ids {
        match client.turns().cancel(thread, id).await {
            Ok(turn) if printer.is_json() => printer.json(&turn)?,
            Ok(turn) => printer.line(&clean(&format!("{id} is {}", turn.status)))?,
            Err(error) => {
                tell(&format!("error: {id}: {error}"));
                failed = true;
            }
        }
    }
    if failed { Err(Fault::Told) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_text_unless_it_is_a_document() {
        let sent = |given| input(given).unwrap().get().to_owned();
        assert_eq!(sent("say \"hi\"\n"), r#""say \"hi\"""#);
        assert_eq!(sent("42"), r#""42""#);
        assert_eq!(sent("{n: 1}"), r#""{n: 1}""#);
        assert_eq!(sent(" {\"n\": 1.50}\n"), "{\"n\": 1.50}");
        assert_eq!(sent("[]"), "[]");
    }
}
