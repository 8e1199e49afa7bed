//! A definition as its file has it: every field in its place, and a place for every field.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Source {
    pub kind: Spanned<String>,
    pub title: Option<String>,
    pub base_url: Option<Spanned<String>>,
    pub auth: Auth,
    #[serde(default)]
    pub headers: Ordered<Spanned<String>>,
    pub profile: Option<Profile>,
    #[serde(default)]
    pub limits: Limits,
    pub resources: Spanned<Ordered<Spanned<Resource>>>,
}

/// Which fields go together is checked behind this: of a variant, nobody knows the lines.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Auth {
    #[serde(rename = "type")]
    pub kind: Spanned<AuthKind>,
    pub name: Option<Spanned<String>>,
    pub value: Option<Spanned<String>>,
    pub user: Option<Spanned<String>>,
    pub password: Option<Spanned<String>>,
    pub refused: Option<Vec<u16>>,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum AuthKind {
    Header,
    Bearer,
    Basic,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Profile {
    pub path: Spanned<String>,
    #[serde(default)]
    pub query: Ordered<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    pub requests_per_second: Option<Spanned<f64>>,
    pub timeout: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Resource {
    pub path: Spanned<String>,
    #[serde(default)]
    pub query: Ordered<Spanned<String>>,
    pub records: Spanned<String>,
    pub id: Spanned<String>,
    pub time: Option<Spanned<String>>,
    pub time_format: Option<Spanned<Format>>,
    #[serde(default)]
    pub order: Order,
    pub pagination: Option<Pagination>,
    pub incremental: Option<Incremental>,
    pub event: Shape,
    pub snapshot: Option<Shape>,
}

#[derive(Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order {
    /// Or nobody knows.
    #[default]
    Any,
    NewestFirst,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Format {
    Rfc3339,
    Unix,
    UnixMs,
    Number,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pagination {
    #[serde(rename = "type")]
    pub kind: Spanned<PaginationKind>,
    pub parameter: Option<Spanned<String>>,
    pub start: Option<Spanned<u64>>,
    pub size: Option<Spanned<u64>>,
    pub size_parameter: Option<Spanned<String>>,
    pub has_more: Option<Spanned<String>>,
    pub total: Option<Spanned<String>>,
    pub next: Option<Spanned<String>>,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum PaginationKind {
    None,
    Page,
    Offset,
    Cursor,
    NextUrl,
    Link,
    StartingAfter,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Incremental {
    pub cursor: Spanned<String>,
    pub format: Option<Spanned<Format>>,
    pub parameter: Option<Spanned<String>>,
    pub until_parameter: Option<String>,
    pub overlap: Option<Spanned<Overlap>>,
    pub lag: Option<Spanned<String>>,
    pub expires: Option<Spanned<String>>,
    pub refreshes: Option<Spanned<Vec<String>>>,
}

/// A time, or how many numbers.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Overlap {
    Number(i64),
    Time(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Shape {
    #[serde(rename = "type")]
    pub kind: Spanned<String>,
    pub dedupe_key: Spanned<String>,
    pub subject: Option<Spanned<String>>,
    #[serde(default)]
    pub attribution: bool,
}

/// A table whose order counts.
pub(super) struct Ordered<T>(pub Vec<(String, T)>);

impl<T> Default for Ordered<T> {
    fn default() -> Self {
        Ordered(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Ordered<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = Vec<(String, T)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(entries)
            }
        }

        deserializer
            .deserialize_map(Entries(PhantomData))
            .map(Ordered)
    }
}
