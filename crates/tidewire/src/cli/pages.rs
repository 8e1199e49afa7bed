//! Lists with numbered pages: all of them or one, as a table or as JSON.

use serde::Serialize;
use serde_json::value::RawValue;
use tidewire_client::{Numbered, PageNumber};

use super::{
    Fault,
    output::{Printer, Rows, tell},
};

/// How much of a list with numbered pages is shown.
#[derive(clap::Args)]
pub(super) struct Pages {
    /// How many, at most 500 (of a page, with --all)
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: Option<u32>,
    /// Which page, from 1
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "all")]
    page: Option<u64>,
    /// The whole list; as JSON, one document a line
    #[arg(long)]
    all: bool,
}

impl Pages {
    /// Fetches and prints what is asked for. `name` is the list's in the API, `row` makes a row of
    /// the table.
    pub async fn print<T: Serialize>(
        self,
        printer: Printer,
        name: &str,
        mut rows: Rows,
        row: impl Fn(&mut Rows, &T),
        fetch: impl AsyncFn(PageNumber) -> tidewire_client::Result<Numbered<T>>,
    ) -> Result<(), Fault> {
        // Fewer and larger pages, where nobody said how large.
        let limit = self.limit.or(self.all.then_some(500));
        let mut number = self.page;
        loop {
            let page = PageNumber {
                page: number,
                limit,
            };
            let page = fetch(page).await?;
            match (printer.is_json(), self.all) {
                (true, true) => page.items.iter().try_for_each(|one| printer.json(one))?,
                (true, false) => printer.json(&json(name, &page)?)?,
                (false, _) => {
                    page.items.iter().for_each(|one| row(&mut rows, one));
                    rows.print(printer)?;
                }
            }
            match page.next() {
                Some(next) if self.all => number = Some(next),
                Some(next) if !printer.is_json() => {
                    tell(&format!(
                        "there is more ({} in all): add --all, or --page {next}",
                        page.pagination.total_records
                    ));
                    return Ok(());
                }
                _ => return Ok(()),
            }
        }
    }
}

/// A page as the API writes it. Through raw text: a `Value` would lose digits.
fn json<T: Serialize>(name: &str, page: &Numbered<T>) -> Result<Box<RawValue>, Fault> {
    let write = || {
        let items = serde_json::to_string(&page.items)?;
        let pagination = serde_json::to_string(&page.pagination)?;
        let name = serde_json::to_string(name)?;
        RawValue::from_string(format!("{{{name}:{items},\"pagination\":{pagination}}}"))
    };
    write().map_err(|error: serde_json::Error| {
        Fault::failed(format_args!("cannot write the output as JSON: {error}"))
    })
}
