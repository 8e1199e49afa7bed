//! What a person sees of it: plain lines, with some colour where they are read on a terminal.

use std::{fmt, time::Duration};

use super::{Folder, stage::Stage};
use crate::cli::{
    listening::say,
    output::{clean, clean_lines, is_terminal},
    serve::called_as,
};

#[derive(Clone, Copy)]
pub(super) struct Show {
    has_colour: bool,
}

/// What a terminal is told before a text.
#[derive(Clone, Copy)]
enum Ink {
    Bold = 1,
    Dim = 2,
    Red = 31,
    Green = 32,
}

struct Painted<T>(Option<Ink>, T);

impl<T: fmt::Display> fmt::Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(ink) => write!(f, "\x1b[{}m{}\x1b[0m", ink as u8, self.1),
            None => self.1.fmt(f),
        }
    }
}

impl Show {
    pub fn new() -> Self {
        let is_wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let is_able = std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        Show {
            has_colour: is_terminal() && is_wanted && is_able,
        }
    }

    fn paint<T: fmt::Display>(self, ink: Ink, text: T) -> Painted<T> {
        Painted(self.has_colour.then_some(ink), text)
    }

    pub fn line(self, text: &str) {
        say(&format!("{text}\n"));
    }

    /// Pieces of a text as they come; what a server sent is shown and not obeyed.
    pub fn piece(self, text: &str) {
        say(&clean_lines(text));
    }

    /// What is no result yet.
    pub fn aside(self, text: &str) {
        self.line(&format!("    {}", self.paint(Ink::Dim, clean(text))));
    }

    /// Who takes part.
    pub fn stage(self, stage: &Stage, folder: &Folder, moved: bool) {
        let data = folder.path().display();
        let fate = match folder.is_kept() {
            true => "which stays",
            false => "which is removed at the end",
        };
        let server = match moved {
            true => "the server (port 8080 is taken): its dashboard, its API",
            false => "the server: its dashboard, its API",
        };
        let head = self.paint(Ink::Bold, "All of Tidewire in one process");
        let mut text = format!("{head}, its data in {data}, {fate}\n\n");
        for (url, what) in [
            (stage.client.server().trim_end_matches('/'), server),
            (&stage.builder, "somebody else's shop, to sync from"),
            (
                &stage.receiver.url,
                "a receiver of webhooks, which checks their signatures",
            ),
            (
                &stage.fleet_agent,
                "an agent of a fleet, which asks the server for its config",
            ),
            (&stage.fleet_worker, "its worker, which goes by that config"),
        ] {
            text.push_str(&format!("  {url:<23} {}\n", self.paint(Ink::Dim, what)));
        }
        self.line(&text);
    }

    pub fn title(self, number: usize, of: usize, name: &str, title: &str) {
        let name = self.paint(Ink::Bold, format!("{name:<8}"));
        self.line(&format!("{number}/{of} {name} {title}"));
    }

    pub fn verified(self, told: &str, took: Duration) {
        let mark = self.paint(Ink::Green, "✓");
        let took = self.paint(Ink::Dim, format!("({})", span(took)));
        self.line(&format!("  {mark} {} {took}", clean(told)));
    }

    pub fn failed(self, name: &str, why: &str) {
        let mark = self.paint(Ink::Red, "✗");
        self.line(&format!("  {mark} {name} was not verified: {}", clean(why)));
    }

    pub fn all_verified(self, steps: usize, took: Duration) {
        let text = format!("all {steps} steps were verified in {}", span(took));
        self.line(&format!("\n{}", self.paint(Ink::Green, text)));
    }

    /// Where to look, and what to try.
    pub fn look(self, stage: &Stage, folder: &Folder) {
        let url = stage.client.server().trim_end_matches('/');
        let (run, worker) = (&stage.run, &stage.fleet_worker);
        let command = called_as();
        let server = match url == crate::cli::SERVER {
            true => String::new(),
            false => format!(" --server {url}"),
        };
        let end = match folder {
            Folder::Kept(path) => format!(
                "and leaves {0}: see it again with `{command} serve --data-dir {0}`",
                path.display()
            ),
            Folder::Temporary(folder) => format!("and removes {}", folder.path().display()),
        };
        let head = |text| self.paint(Ink::Bold, text);
        self.line(&format!(
            "
{look}
  {url}/                        the dashboard, without signing in
  {url}/ui/threads/chat-{run}  the agent's thread: start another turn, and see it written
  {url}/docs                    every request, to be tried there

{ask}
  curl -N '{url}/v1/events/tail?after=0'
  curl '{url}/v1/executions?limit=3'
  curl '{url}/v1/threads/chat-{run}/events'
  curl {url}/v1/turns --json '{{\"thread_id\": \"chat-{run}\", \"input\": \"what is 12 * 12?\"}}'
  curl {worker}/hit
  {command} fleet status --all{server}
  {command} turns start 'what is (3 + 4) * 5?' --follow{server}

It keeps running, and a trigger fires every 10 s. Ctrl-C ends it {end}.",
            look = head("Look"),
            ask = head("Ask"),
        ));
    }
}

/// A span for people.
fn span(took: Duration) -> String {
    match took.as_millis() {
        ms @ ..1000 => format!("{ms} ms"),
        _ => format!("{:.1} s", took.as_secs_f64()),
    }
}
