//! How the pages of a list are asked for: where the next one is, and whether there is one.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Pointer, text_of};

#[derive(Clone, Debug)]
pub(crate) enum Pagination {
    /// All of it is one page.
    None,
    /// Pages have numbers.
    Page {
        parameter: String,
        start: u64,
        size: Option<Size>,
        end: End,
    },
    /// A page begins behind so many records.
    Offset {
        parameter: String,
        size: Option<Size>,
        end: End,
    },
    /// The answer has a text for the next request.
    Cursor { parameter: String, next: Pointer },
    /// The answer has the next request's URL …
    NextUrl { next: Pointer },
    /// … or its `Link` header has it (RFC 8288).
    Link,
    /// A page begins behind a record, which the request names.
    StartingAfter {
        parameter: String,
        has_more: Option<Pointer>,
    },
}

/// How many records a page has, and how that is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Size {
    pub count: u64,
    pub parameter: Option<String>,
}

/// How an answer tells that it is the last one. Without either the last one is short, or empty.
#[derive(Clone, Debug, Default)]
pub(crate) struct End {
    pub has_more: Option<Pointer>,
    /// How many records there are in all.
    pub total: Option<Pointer>,
}

/// Where in a list reading is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    Start,
    Page(u64),
    Offset(u64),
    Cursor(String),
    Url(String),
    After(String),
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Position::Start => f.write_str("the first page"),
            Position::Page(number) => write!(f, "page {number}"),
            Position::Offset(offset) => write!(f, "the page behind {offset} records"),
            // These are the source's own words, and may be long.
            Position::Cursor(_) | Position::Url(_) => f.write_str("a later page"),
            Position::After(id) => {
                let id = tidewire_core::problem::clip(id);
                write!(f, "the page behind the record `{id}`")
            }
        }
    }
}

/// What an answer says about where it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    pub body: &'a RawValue,
    /// The texts of its `Link` headers.
    pub links: &'a [&'a str],
    pub records: u64,
    pub last_id: Option<&'a str>,
}

impl Pagination {
    /// Where reading begins.
    pub fn start(&self) -> Position {
        match self {
            Pagination::Page { start, .. } => Position::Page(*start),
            Pagination::Offset { .. } => Position::Offset(0),
            _ => Position::Start,
        }
    }

    /// Whether a position is a place from the front, so that pages shift when records come or go before it.
    pub fn is_positional(&self) -> bool {
        matches!(self, Pagination::Page { .. } | Pagination::Offset { .. })
    }

    /// What is added to a request for the page at a position.
    pub fn parameters(&self, at: &Position) -> Vec<(String, String)> {
        let mut all = Vec::new();
        let named = match (self, at) {
            (Pagination::Page { parameter, .. }, Position::Page(number)) => {
                Some((parameter, number.to_string()))
            }
            (Pagination::Offset { parameter, .. }, Position::Offset(offset)) => {
                Some((parameter, offset.to_string()))
            }
            (Pagination::Cursor { parameter, .. }, Position::Cursor(cursor)) => {
                Some((parameter, cursor.clone()))
            }
            (Pagination::StartingAfter { parameter, .. }, Position::After(id)) => {
                Some((parameter, id.clone()))
            }
            _ => None,
        };
        if let Some((name, value)) = named {
            all.push((name.clone(), value));
        }
        if let Pagination::Page {
            size: Some(size), ..
        }
        | Pagination::Offset {
            size: Some(size), ..
        } = self
            && let Some(parameter) = &size.parameter
        {
            all.push((parameter.clone(), size.count.to_string()));
        }
        all
    }

    /// How many records an answer says there are in all.
    pub fn total(&self, body: &RawValue) -> Option<u64> {
        let (Pagination::Page { end, .. } | Pagination::Offset { end, .. }) = self else {
            return None;
        };
        let total = end.total.as_ref()?.find(body)?;
        text_of(total)?.parse().ok()
    }

    /// Where the next page is; nothing behind the last one.
    pub fn next(&self, at: &Position, facts: &Facts<'_>) -> Result<Option<Position>, String> {
        let next = match (self, at) {
            (Pagination::None, _) => None,
            (
                Pagination::Page {
                    start, size, end, ..
                },
                Position::Page(number),
            ) => {
                let size = size.as_ref().map(|size| size.count);
                let pages = number.saturating_sub(*start) + 1;
                let read = size.map(|size| pages.saturating_mul(size));
                let is_more = end.is_more(facts, size, read)?;
                is_more.then_some(Position::Page(number + 1))
            }
            (Pagination::Offset { size, end, .. }, Position::Offset(offset)) => {
                let size = size.as_ref().map(|size| size.count);
                let read = offset + facts.records;
                let is_more = end.is_more(facts, size, Some(read))?;
                is_more.then_some(Position::Offset(read))
            }
            (Pagination::Cursor { next, .. }, _) => told(next, facts.body).map(Position::Cursor),
            (Pagination::NextUrl { next }, _) => told(next, facts.body).map(Position::Url),
            (Pagination::Link, _) => next_link(facts.links).map(Position::Url),
            (Pagination::StartingAfter { has_more, .. }, _) => {
                let more = match has_more {
                    Some(pointer) => truth(pointer, facts.body)?,
                    None => facts.records > 0,
                };
                match facts.last_id {
                    Some(id) if more => Some(Position::After(id.to_owned())),
                    _ => None,
                }
            }
            (_, position) => {
                return Err(format!("{position} is no place in a list of this kind"));
            }
        };
        if next.as_ref() == Some(at) {
            return Err("the next page is the same page again".to_owned());
        }
        Ok(next)
    }

    /// So many pages (records, where a position counts those) nearer to the front.
    pub fn back(&self, at: &Position, pages: u64, page_length: u64) -> Position {
        match (self, at) {
            (Pagination::Page { start, .. }, Position::Page(number)) => {
                Position::Page(number.saturating_sub(pages).max(*start))
            }
            (_, Position::Offset(offset)) => {
                Position::Offset(offset.saturating_sub(pages.saturating_mul(page_length)))
            }
            (_, other) => other.clone(),
        }
    }
}

impl End {
    /// Whether there is a page behind one with which so many records were read.
    fn is_more(
        &self,
        facts: &Facts<'_>,
        size: Option<u64>,
        read: Option<u64>,
    ) -> Result<bool, String> {
        if let Some(pointer) = &self.has_more {
            return truth(pointer, facts.body);
        }
        if facts.records == 0 {
            return Ok(false);
        }
        if let (Some(pointer), Some(read)) = (&self.total, read) {
            let total = pointer.find(facts.body).and_then(text_of);
            let total = total.and_then(|text| text.parse::<u64>().ok());
            let total = total.ok_or_else(|| format!("{pointer} is not there, or no count"))?;
            return Ok(read < total);
        }
        Ok(size.is_none_or(|size| facts.records >= size))
    }
}

/// A text that is there and not empty.
fn told(pointer: &Pointer, body: &RawValue) -> Option<String> {
    let text = pointer.find(body).and_then(text_of)?;
    (!text.is_empty()).then(|| text.into_owned())
}

fn truth(pointer: &Pointer, body: &RawValue) -> Result<bool, String> {
    match pointer.find(body).map(RawValue::get) {
        Some("true") => Ok(true),
        Some("false") => Ok(false),
        Some(_) => Err(format!("{pointer} is neither true nor false")),
        None => Err(format!("{pointer} is not there")),
    }
}

/// The URL of the link whose relation is `next`.
fn next_link(headers: &[&str]) -> Option<String> {
    headers.iter().find_map(|header| {
        let mut rest = *header;
        while let Some(open) = rest.find('<') {
            let inside = &rest[open + 1..];
            let close = inside.find('>')?;
            let (url, tail) = (&inside[..close], &inside[close + 1..]);
            let (parameters, behind) = parameters(tail);
            if is_next(parameters) {
                return Some(url.to_owned());
            }
            rest = behind;
        }
        None
    })
}

/// What stands behind a URL up to the comma before the next link; commas in quotes are text.
fn parameters(text: &str) -> (&str, &str) {
    let mut quoted = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => return (&text[..at], &text[at + 1..]),
            _ => {}
        }
    }
    (text, "")
}

fn is_next(parameters: &str) -> bool {
    parameters.split(';').any(|parameter| {
        let Some((name, value)) = parameter.split_once('=') else {
            return false;
        };
        let value = value.trim().trim_matches('"');
        name.trim().eq_ignore_ascii_case("rel")
            && value
                .split_ascii_whitespace()
                .any(|relation| relation.eq_ignore_ascii_case("next"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    fn pointer(text: &str) -> Option<Pointer> {
        Some(Pointer::parse(text).unwrap())
    }

    fn next(
        pagination: &Pagination,
        at: &Position,
        body: &str,
        records: u64,
    ) -> Result<Option<Position>, String> {
        let body = raw(body);
        let facts = Facts {
            body: &body,
            links: &[],
            records,
            last_id: Some("last"),
        };
        pagination.next(at, &facts)
    }

    fn pages(size: Option<u64>, end: End) -> Pagination {
        Pagination::Page {
            parameter: "page".to_owned(),
            start: 1,
            size: size.map(|count| Size {
                count,
                parameter: Some("per_page".to_owned()),
            }),
            end,
        }
    }

    #[test]
    fn pages_have_numbers_and_end_as_the_answer_says() {
        let told = pages(
            None,
            End {
                has_more: pointer("/more"),
                total: None,
            },
        );
        let at = Position::Page(3);
        assert_eq!(
            next(&told, &at, r#"{"more":true}"#, 0),
            Ok(Some(Position::Page(4)))
        );
        assert_eq!(next(&told, &at, r#"{"more":false}"#, 10), Ok(None));
        assert!(next(&told, &at, "{}", 10).unwrap_err().contains("/more"));
        assert!(next(&told, &at, r#"{"more":1}"#, 10).is_err());

        let counted = pages(
            Some(10),
            End {
                has_more: None,
                total: pointer("/total"),
            },
        );
        assert_eq!(
            next(&counted, &at, r#"{"total":31}"#, 10),
            Ok(Some(Position::Page(4)))
        );
        assert_eq!(next(&counted, &at, r#"{"total":30}"#, 10), Ok(None));
        assert!(next(&counted, &at, "{}", 10).is_err());
        assert_eq!(
            counted.parameters(&at),
            [
                ("page".to_owned(), "3".to_owned()),
                ("per_page".to_owned(), "10".to_owned())
            ]
        );

        let silent = pages(Some(10), End::default());
        assert_eq!(next(&silent, &at, "{}", 10), Ok(Some(Position::Page(4))));
        assert_eq!(next(&silent, &at, "{}", 9), Ok(None));
        assert_eq!(next(&silent, &at, "{}", 0), Ok(None));
        let unsized_ = pages(None, End::default());
        assert_eq!(next(&unsized_, &at, "{}", 1), Ok(Some(Position::Page(4))));
        assert_eq!(next(&unsized_, &at, "{}", 0), Ok(None));
    }

    #[test]
    fn an_offset_goes_on_behind_what_came() {
        let offsets = |total| Pagination::Offset {
            parameter: "offset".to_owned(),
            size: Some(Size {
                count: 50,
                parameter: Some("limit".to_owned()),
            }),
            end: End {
                has_more: None,
                total,
            },
        };
        let at = Position::Offset(100);
        assert_eq!(
            next(&offsets(None), &at, "{}", 50),
            Ok(Some(Position::Offset(150)))
        );
        assert_eq!(next(&offsets(None), &at, "{}", 49), Ok(None));
        let counted = offsets(pointer("/count"));
        // A server may have a lower limit than was asked for.
        assert_eq!(
            next(&counted, &at, r#"{"count":300}"#, 20),
            Ok(Some(Position::Offset(120)))
        );
        assert_eq!(next(&counted, &at, r#"{"count":120}"#, 20), Ok(None));
        assert_eq!(
            counted.back(&Position::Offset(30), 1, 20),
            Position::Offset(10)
        );
        assert_eq!(
            counted.back(&Position::Offset(30), 9, 20),
            Position::Offset(0)
        );
    }

    #[test]
    fn cursors_and_urls_are_the_sources_own() {
        let cursor = Pagination::Cursor {
            parameter: "after".to_owned(),
            next: Pointer::parse("/meta/next").unwrap(),
        };
        let start = cursor.start();
        let some = next(&cursor, &start, r#"{"meta":{"next":"abc"}}"#, 1).unwrap();
        assert_eq!(some, Some(Position::Cursor("abc".to_owned())));
        for end in [r#"{"meta":{"next":null}}"#, r#"{"meta":{"next":""}}"#, "{}"] {
            assert_eq!(next(&cursor, &start, end, 1), Ok(None));
        }
        let again = next(&cursor, &some.unwrap(), r#"{"meta":{"next":"abc"}}"#, 1);
        assert!(again.unwrap_err().contains("same page again"));
        assert!(cursor.parameters(&start).is_empty());
    }

    #[test]
    fn a_list_goes_on_behind_its_last_record() {
        let after = |has_more| Pagination::StartingAfter {
            parameter: "starting_after".to_owned(),
            has_more,
        };
        let start = Position::Start;
        let behind = Ok(Some(Position::After("last".to_owned())));
        assert_eq!(
            next(&after(pointer("/m")), &start, r#"{"m":true}"#, 5),
            behind
        );
        assert_eq!(
            next(&after(pointer("/m")), &start, r#"{"m":false}"#, 5),
            Ok(None)
        );
        assert_eq!(next(&after(None), &start, "{}", 5), behind);
        assert_eq!(next(&after(None), &start, "{}", 0), Ok(None));
    }

    #[test]
    fn links_are_read_as_rfc_8288_has_them() {
        for (header, found) in [
            (
                r#"<https://a/?page=2>; rel="next", <https://a/?page=9>; rel="last""#,
                Some("https://a/?page=2"),
            ),
            (
                r#"<https://a/?page=1>; rel="prev", <https://a/?page=3>; rel=next"#,
                Some("https://a/?page=3"),
            ),
            (
                r#"</relative,with,commas>; title="a, b"; rel="x next""#,
                Some("/relative,with,commas"),
            ),
            (r#"<https://a/?page=9>; rel="last""#, None),
            ("<https://broken", None),
            ("", None),
        ] {
            assert_eq!(next_link(&[header]).as_deref(), found, "{header}");
        }
        assert_eq!(
            next_link(&[r#"<a>; rel="prev""#, r#"<b>; REL="NEXT""#]).as_deref(),
            Some("b")
        );
    }
}
