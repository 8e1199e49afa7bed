//! Lists that go on behind a cursor: all of them or one page, as a table or as JSON.

use serde::Serialize;
use serde_json::{json, value::RawValue};
use tidewire_client::Page;

use super::{
    Fault,
    output::{Printer, Rows, tell},
};

/// How much of a list is shown.
#[derive(clap::Args)]
pub(super) struct Paging {
    /// How many, at most 500 (of a page, with --all)
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: Option<u32>,
    /// Go on behind an earlier answer's `next_cursor`
    #[arg(long)]
    cursor: Option<String>,
    /// The whole list; as JSON, one document a line
    #[arg(long)]
    all: bool,
}

impl Paging {
    /// Fetches and prints what is asked for. `name` is the list's in the API, `row` makes a row of
    /// the table.
    pub async fn print<T: Serialize>(
        self,
        printer: Printer,
        name: &str,
        mut rows: Rows,
        row: impl Fn(&mut Rows, &T),
        fetch: impl AsyncFn(Option<u32>, Option<String>) -> tidewire_client::Result<Page<T>>,
    ) -> Result<(), Fault> {
        // Fewer and larger pages, where nobody said how large.
        let limit = self.limit.or(self.all.then_some(500));
        let mut cursor = self.cursor;
        loop {
            let page = fetch(limit, cursor).await?;
            match (printer.is_json(), self.all) {
                (true, true) => page.items.iter().try_for_each(|one| printer.json(one))?,
                (true, false) => printer.json(&json(name, &page)?)?,
                (false, _) => {
                    page.items.iter().for_each(|one| row(&mut rows, one));
                    rows.print(printer)?;
                }
            }
            match page.next_cursor {
                Some(next) if self.all => cursor = Some(next),
                Some(next) if !printer.is_json() => {
                    tell(&format!("there is more: add --all, or --cursor {next}"));
                    return Ok(());
                }
                _ => return Ok(()),
            }
        }
    }
}

/// A page as the API writes it. Through raw text: a `Value` would lose digits.
fn json<T: Serialize>(name: &str, page: &Page<T>) -> Result<Box<RawValue>, Fault> {
    let write = || {
        let items = serde_json::to_string(&page.items)?;
        let text = format!(
            "{{{}:{items},\"next_cursor\":{}}}",
            json!(name),
            json!(page.next_cursor)
        );
        RawValue::from_string(text)
    };
    write().map_err(|error| Fault::failed(format_args!("cannot write the output as JSON: {error}")))
}
