//! What is printed: tables for people, JSON for programs.
//!
//! Text that came from a server is somebody else's: in tables and messages its control characters
//! are shown, not obeyed, or a payload could rewrite the terminal.

use std::{
    borrow::Cow,
    fmt::Write as _,
    io::{self, IsTerminal as _, Write as _},
};

use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets::NOTHING};
use serde::Serialize;
use tidewire_core::Time;

use super::Fault;

/// Characters of a payload in a table.
const PREVIEW: usize = 60;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    // A variable that is set to nothing is one that is not set.
    #[value(alias = "")]
    Table,
    Json,
}

#[derive(Clone, Copy)]
pub(super) struct Printer {
    format: Format,
}

impl Printer {
    pub fn new(format: Format) -> Self {
        Printer { format }
    }

    pub fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// One JSON document on one line.
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Fault> {
        let text = serde_json::to_string(value)
            .map_err(|error| Fault::Failed(format!("cannot write the output as JSON: {error}")))?;
        self.line(&compact(&text))
    }

    /// One line as it is; what came from a server must be cleaned before.
    pub fn line(self, text: &str) -> Result<(), Fault> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.write_all(b"\n")?;
        // A line is worth nothing to its reader while it waits in a buffer.
        out.flush()?;
        Ok(())
    }

    /// Bytes as they are.
    pub fn bytes(self, bytes: &[u8]) -> Result<(), Fault> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()?;
        Ok(())
    }

    /// Names and values below each other; what is `None` is left out.
    pub fn facts(self, facts: &[(&str, Option<String>)]) -> Result<(), Fault> {
        let mut rows = Rows::without_header();
        for (name, value) in facts {
            if let Some(value) = value {
                rows.add([(*name).to_owned(), value.clone()]);
            }
        }
        rows.print(self)
    }
}

/// A table, printed in one piece or page by page with the header once.
pub(super) struct Rows {
    header: Option<Vec<&'static str>>,
    rows: Vec<Vec<String>>,
    /// As wide as the pages before, so that columns stay below each other.
    widths: Vec<u16>,
}

impl Rows {
    pub fn new<const N: usize>(header: [&'static str; N]) -> Self {
        Rows {
            header: Some(header.to_vec()),
            rows: Vec::new(),
            widths: Vec::new(),
        }
    }

    pub fn without_header() -> Self {
        Rows {
            header: None,
            rows: Vec::new(),
            widths: Vec::new(),
        }
    }

    pub fn add<const N: usize>(&mut self, cells: [String; N]) {
        self.rows
            .push(cells.iter().map(|cell| clean(cell).into_owned()).collect());
    }

    /// Prints what was added since the last time.
    pub fn print(&mut self, printer: Printer) -> Result<(), Fault> {
        let mut table = Table::new();
        table
            .load_style(NOTHING)
            .set_content_arrangement(ContentArrangement::Dynamic);
        if let Some(header) = self.header.take() {
            table.set_header(header);
        }
        table.add_rows(self.rows.drain(..));
        table.discover_columns();
        for (index, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, 2));
            if let Some(width) = self.widths.get(index) {
                column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(width + 2)));
            }
        }
        let widths = table.column_max_content_widths();
        self.widths.resize(self.widths.len().max(widths.len()), 0);
        for (kept, width) in self.widths.iter_mut().zip(widths) {
            *kept = width.max(*kept);
        }
        let mut text = String::new();
        for line in table.lines() {
            text.push_str(line.trim_end());
            text.push('\n');
        }
        printer.bytes(text.as_bytes())
    }
}

/// Tells the person at the terminal something; standard error may be closed, and then nobody is
/// there to be told.
pub(super) fn tell(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", clean(text));
}

pub(super) fn at(time: Option<Time>) -> Option<String> {
    time.map(|time| time.to_string())
}

/// Shows control characters instead of sending them: escapes, and what reorders text (the Trojan
/// Source characters).
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            c if is_unsafe(c) => {
                // Writing into a string cannot fail.
                let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
            }
            c => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// The same for text of several lines, which stay lines.
pub(super) fn clean_lines(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let parts = text.split_inclusive(['\n', '\t']);
    let shown = parts.map(|part| match part.char_indices().next_back() {
        Some((end, last @ ('\n' | '\t'))) => format!("{}{last}", clean(&part[..end])),
        _ => clean(part).into_owned(),
    });
    Cow::Owned(shown.collect())
}

fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// JSON text on one line: space between tokens goes, every token stays as it was written. DEL and
/// the C1 controls, which JSON allows raw in strings and terminals obey, are escaped.
pub(super) fn compact(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    let mut in_string = false;
    let mut escaped = false;
    for c in json.chars() {
        if !in_string && matches!(c, ' ' | '\t' | '\n' | '\r') {
            continue;
        }
        match c {
            '\u{7f}'..='\u{9f}' => {
                // Writing into a string cannot fail.
                let _ = write!(text, "\\u{:04x}", u32::from(c));
            }
            c => text.push(c),
        }
        in_string ^= c == '"' && !escaped;
        escaped = in_string && c == '\\' && !escaped;
    }
    text
}

/// The start of a JSON text, for a cell.
pub(super) fn preview(json: &str) -> String {
    // A long payload need not be read to its end for its first characters.
    let end = json
        .char_indices()
        .nth(PREVIEW * 8)
        .map_or(json.len(), |(end, _)| end);
    shorten(&compact(&json[..end]), PREVIEW)
}

/// A JSON text on a line of its own: whole, but for a person only its start.
pub(super) fn shown(json: &str) -> String {
    if is_terminal() {
        preview(json)
    } else {
        compact(json)
    }
}

pub(super) fn shorten(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Whether a person sees what goes to standard output.
pub(super) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Returns when nobody reads standard output any more, which a writer otherwise learns only with
/// its next write: `tidewire events tail | head -1` would wait for one event too many. What cannot
/// be watched (a file) never closes.
pub(super) async fn closed() {
    #[cfg(unix)]
    {
        use std::os::fd::AsFd as _;
        use tokio::{io::Interest, net::unix::pipe::Sender};
        // Watched and never written through, so that it need not be a pipe nor made non-blocking,
        // which would change standard output for whoever shares it.
        let watched = io::stdout()
            .as_fd()
            .try_clone_to_owned()
            .and_then(Sender::from_owned_fd_unchecked);
        if let Ok(watched) = watched
            && watched.ready(Interest::ERROR).await.is_ok()
        {
            return;
        }
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_and_not_sent() {
        assert_eq!(clean("plain, ünïcode ✓"), "plain, ünïcode ✓");
        assert_eq!(
            clean("a\u{1b}[2Jb\nc\u{9b}31m\u{202e}"),
            "a\\u{1b}[2Jb\\nc\\u{9b}31m\\u{202e}"
        );
    }

    #[test]
    fn lines_stay_lines_and_hide_nothing() {
        assert_eq!(
            clean_lines("a\n\n\tb\r\u{1b}[1mc\n"),
            "a\n\n\tb\\r\\u{1b}[1mc\n"
        );
    }

    #[test]
    fn compact_json_is_the_same_json_on_one_line() {
        let text = "{\n  \"a b\" : [ 1.50, \"x \\\" \\\\\" , \"\u{9b}2J\" ]\r\n}";
        let line = compact(text);
        assert_eq!(line, "{\"a b\":[1.50,\"x \\\" \\\\\",\"\\u009b2J\"]}");
        let read = |text| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(read(&line), read(text));
    }

    #[test]
    fn a_preview_is_short() {
        assert_eq!(preview("{ \"a\": 1 }"), "{\"a\":1}");
        let long = format!("\"{}\"", "ü".repeat(100_000));
        assert_eq!(preview(&long).chars().count(), PREVIEW + 1);
    }
}
