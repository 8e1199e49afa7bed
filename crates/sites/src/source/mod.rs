//! Declarative sources: what has to be known of somebody's API to read its records as events, in a
//! file. What a file says is checked whole when it is read ([`read`]), and a fault names its line.
//!
//! Pure: how a page is asked for ([`page`]), where things are in an answer ([`pointer`]), and what a
//! record becomes ([`record`]) are functions of what is passed in. Who asks is [`crate::sync`].

mod check;
pub(crate) mod page;
mod pointer;
mod raw;
mod record;
mod template;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, LazyLock},
    time::Duration,
};

pub use page::Position;
pub use pointer::Pointer;
pub(crate) use pointer::text_of;
pub(crate) use record::Made;
pub use template::{Template, Values};

use page::Pagination;

/// What is known of a kind of sites.
#[derive(Clone, Debug)]
pub struct Source {
    pub kind: String,
    pub title: String,
    /// Where its sites are, if they are all at one place.
    pub base_url: Option<String>,
    pub(crate) auth: Auth,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) profile: Option<Profile>,
    pub(crate) timeout: Duration,
    pub(crate) requests_per_second: Option<f64>,
    /// In the order of the file, which is the order in which they are synced.
    pub resources: Vec<Arc<Resource>>,
}

/// How the access key is shown.
#[derive(Clone, Debug)]
pub(crate) struct Auth {
    pub header: String,
    pub how: Showing,
    /// The statuses that mean that it is not good.
    pub refused: Vec<u16>,
}

#[derive(Clone, Debug)]
pub(crate) enum Showing {
    /// A text in which the key stands.
    As(Template),
    /// User and password, in which the key stands.
    Basic(Template, Template),
}

/// What answers well exactly if the key is good.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    pub path: Template,
    pub query: Vec<(String, Template)>,
}

/// One list of records.
#[derive(Clone, Debug)]
pub struct Resource {
    pub name: String,
    pub(crate) path: Template,
    pub(crate) query: Vec<(String, Template)>,
    pub(crate) records: Pointer,
    pub(crate) id: Pointer,
    pub(crate) time: Option<(Pointer, Format)>,
    pub(crate) newest_first: bool,
    pub(crate) pagination: Pagination,
    pub(crate) incremental: Option<Incremental>,
    pub(crate) event: Shape,
    /// What a record becomes besides when everything is read again.
    pub(crate) snapshot: Option<Shape>,
}

/// How only what is new is read.
#[derive(Clone, Debug)]
pub(crate) struct Incremental {
    /// Where a record says how new it is.
    pub cursor: Pointer,
    pub format: Format,
    /// The parameter that asks for records from a cursor on.
    pub parameter: Option<String>,
    /// The parameter that asks for records up to one.
    pub until: Option<String>,
    /// How far behind what is known reading begins, in the cursor's own measure.
    pub overlap: i64,
    /// The newest is left for the next time.
    pub lag: Duration,
    /// What is older is not there any more …
    pub expires: Option<Duration>,
    /// … and then these are read from the start again.
    pub refreshes: Vec<String>,
}

/// How a record writes a time or a number that grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Rfc3339,
    Unix,
    UnixMillis,
    /// No time at all.
    Number,
}

/// What a record becomes.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub kind: Template,
    pub dedupe_key: Template,
    pub subject: Option<Pointer>,
    /// The subject's latest `utm_source` goes along.
    pub attribution: bool,
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {what}")]
pub struct BadSource {
    pub file: String,
    /// Counts from 1.
    pub line: usize,
    pub what: String,
}

impl Source {
    /// Reads a definition; `file` is what faults call it.
    pub fn read(file: &str, text: &str) -> Result<Self, BadSource> {
        let bad = |at: usize, what: String| BadSource {
            file: file.to_owned(),
            line: line_of(text, at),
            what,
        };
        let raw: raw::Source = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            bad(at, error.message().to_owned())
        })?;
        check::source(raw).map_err(|fault| bad(fault.at, fault.what))
    }

    #[must_use]
    pub fn resource(&self, name: &str) -> Option<&Arc<Resource>> {
        self.resources.iter().find(|resource| resource.name == name)
    }

    /// The names of its resources, in their order.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let names = self.resources.iter();
        names.map(|resource| resource.name.as_str()).collect()
    }
}

fn line_of(text: &str, at: usize) -> usize {
    let before = text.get(..at).unwrap_or(text);
    before.bytes().filter(|byte| *byte == b'\n').count() + 1
}

/// The definitions that come with the server.
const SHIPPED: [(&str, &str); 3] = [
    ("builder.toml", include_str!("../../sources/builder.toml")),
    ("stripe.toml", include_str!("../../sources/stripe.toml")),
    ("github.toml", include_str!("../../sources/github.toml")),
];

/// Definitions by their kinds. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sources {
    by_kind: Arc<BTreeMap<String, Arc<Source>>>,
}

impl Sources {
    /// Those that come with the server.
    #[must_use]
    pub fn shipped() -> Self {
        static READ: LazyLock<Sources> = LazyLock::new(|| {
            let read = SHIPPED.map(|(file, text)| {
                let source = Source::read(file, text);
                source.expect("what comes along was read when it was built")
            });
            Sources::of(read)
        });
        READ.clone()
    }

    fn of(sources: impl IntoIterator<Item = Source>) -> Self {
        let by_kind = sources
            .into_iter()
            .map(|source| (source.kind.clone(), Arc::new(source)));
        Sources {
            by_kind: Arc::new(by_kind.collect()),
        }
    }

    /// Those, and all `*.toml` of a folder, which go before them.
    pub fn with_folder(folder: &Path) -> Result<Self, String> {
        let shown = folder.display();
        let listed = std::fs::read_dir(folder);
        let listed = listed.map_err(|error| format!("cannot read the folder {shown}: {error}"))?;
        let mut files = Vec::new();
        for entry in listed {
            let entry =
                entry.map_err(|error| format!("cannot read the folder {shown}: {error}"))?;
            let path = entry.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "toml")
            {
                files.push(path);
            }
        }
        files.sort();
        let mut sources = (*Sources::shipped().by_kind).clone();
        let mut from: BTreeMap<String, String> = BTreeMap::new();
        for path in files {
            let file = path.display().to_string();
            let text = std::fs::read_to_string(&path);
            let text = text.map_err(|error| format!("cannot read {file}: {error}"))?;
            let source = Source::read(&file, &text).map_err(|bad| bad.to_string())?;
            if let Some(other) = from.insert(source.kind.clone(), file.clone()) {
                return Err(format!(
                    "{other} and {file} are both of the kind `{}`",
                    source.kind
                ));
            }
            sources.insert(source.kind.clone(), Arc::new(source));
        }
        Ok(Sources {
            by_kind: Arc::new(sources),
        })
    }

    #[must_use]
    pub fn get(&self, kind: &str) -> Option<&Arc<Source>> {
        self.by_kind.get(kind)
    }

    #[must_use]
    pub fn kinds(&self) -> Vec<&str> {
        self.by_kind.keys().map(String::as_str).collect()
    }
}

#[cfg(test)]
mod tests;
