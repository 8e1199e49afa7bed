//! The pieces that pages are put together from.

use maud::{Markup, html};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::{
    door::{Viewer, Visit},
    frame::token,
};

/// Characters of a payload that a page shows.
const SHOWN: usize = 32 << 10;

/// A filter that is set to something: forms send empty ones along.
pub(crate) fn filled<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty()))
}

/// The same for what is read from a text.
pub(crate) fn chosen<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    let text = filled(deserializer)?;
    text.map(|text| text.parse().map_err(serde::de::Error::custom))
        .transpose()
}

pub(crate) fn title(title: &str, what: &str) -> Markup {
    html! {
        div.title { h1 { (title) } p.dim { (what) } }
    }
}

/// A state, by its word and by its colour.
pub(crate) fn badge(class: &str, text: &str) -> Markup {
    html! { span.badge.(class) { (text) } }
}

/// A state's colour: good, bad, at work, waiting, or over without being either.
pub(crate) fn class_of(state: &str) -> &'static str {
    match state {
        "done" | "success" | "completed" | "active" | "in sync" => "ok",
        "failed" | "failure" | "expired" | "revoked" | "drifts" => "bad",
        "running" | "processing" | "syncing" => "busy",
        "pending" | "accepted" => "wait",
        _ => "off",
    }
}

pub(crate) fn state(state: &str) -> Markup {
    badge(class_of(state), state)
}

/// A table that scrolls by itself where it is too wide.
pub(crate) fn table(heads: &[&str], rows: Markup) -> Markup {
    html! {
        div.scroll tabindex="0" role="group" aria-label="Table" {
            table {
                thead { tr { @for head in heads {
                    @if head.is_empty() { td {} } @else { th scope="col" { (head) } }
                } } }
                tbody { (rows) }
            }
        }
    }
}

/// Facts about one thing.
pub(crate) fn facts(pairs: &[(&str, Markup)]) -> Markup {
    html! {
        dl.facts { @for (name, value) in pairs { div { dt { (name) } dd { (value) } } } }
    }
}

/// What is there may be, or not.
pub(crate) fn or_none(text: Option<&str>) -> Markup {
    match text {
        Some(text) => html! { (text) },
        None => html! { span.none { "–" } },
    }
}

/// A link to one thing by its id.
pub(crate) fn link(path: &str, id: &str) -> Markup {
    html! { a.id href={ (path) (escaped(id)) } { (id) } }
}

/// An id as a part of a path or query.
pub(crate) fn escaped(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes())
        .collect::<String>()
        .replace('+', "%20")
}

/// On to the next page of a list, with the same filters, and back to its start.
pub(crate) fn pager(path: &str, filters: &[(&str, Option<&str>)], next: Option<&str>) -> Markup {
    let first = query(path, filters, None);
    html! {
        nav.pager aria-label="Pages" {
            a href=(first) { "First page" }
            @match next {
                Some(next) => a.next rel="next" href=(query(path, filters, Some(("cursor", next)))) { "Next page" },
                None => span.dim { "No more" },
            }
        }
    }
}

/// The same for a list that counts its pages.
pub(crate) fn numbered(
    path: &str,
    filters: &[(&str, Option<&str>)],
    at: tidewire_triggers::Pagination,
) -> Markup {
    let to = |page: u64| query(path, filters, Some(("page", &page.to_string())));
    let last = at.total_pages.max(1);
    html! {
        nav.pager aria-label="Pages" {
            @if at.current_page > 1 { a rel="prev" href=(to(at.current_page - 1)) { "Page before" } }
            span.dim { "Page " (at.current_page) " of " (last) ", " (count(at.total_records)) " in all" }
            @if at.current_page < last { a.next rel="next" href=(to(at.current_page + 1)) { "Next page" } }
        }
    }
}

pub(crate) fn query(
    path: &str,
    filters: &[(&str, Option<&str>)],
    more: Option<(&str, &str)>,
) -> String {
    let set = filters
        .iter()
        .filter_map(|(name, value)| Some((*name, (*value)?)));
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(set.chain(more));
    let query = query.finish();
    if query.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{query}")
    }
}

/// A number with its thousands apart.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in a unit that people read.
#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
pub(crate) fn bytes(number: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if number < 1000 {
        return format!("{number} B");
    }
    let mut amount = number as f64 / 1000.0;
    let mut units = UNITS.iter();
    let mut unit = units.next().unwrap_or(&"kB");
    for larger in units {
        if amount < 1000.0 {
            break;
        }
        amount /= 1000.0;
        unit = larger;
    }
    format!("{amount:.1} {unit}")
}

/// What a list is narrowed by: each field with its name, what it is called, and what it is set to.
pub(crate) enum Field<'f> {
    Text(&'f str, &'f str, Option<&'f str>),
    Choice(&'f str, &'f str, Option<&'f str>, &'f [&'f str]),
}

pub(crate) fn filters(path: &str, fields: &[Field<'_>]) -> Markup {
    let any = fields.iter().any(|field| match field {
        Field::Text(_, _, value) | Field::Choice(_, _, value, _) => value.is_some(),
    });
    html! {
        form.filters method="get" action=(path) role="search" aria-label="Filter the list" {
            @for field in fields {
                @match field {
                    Field::Text(name, called, value) => div {
                        label for={ "by-" (name) } { (called) }
                        input #{ "by-" (name) } name=(name) value=[*value] autocomplete="off" spellcheck="false" maxlength="512";
                    },
                    Field::Choice(name, called, value, choices) => div {
                        label for={ "by-" (name) } { (called) }
                        select #{ "by-" (name) } name=(name) {
                            option value="" { "any" }
                            @for choice in *choices { option value=(choice) selected[*value == Some(*choice)] { (choice) } }
                        }
                    },
                }
            }
            div.buttons {
                button type="submit" { "Filter" }
                @if any { a href=(path) { "Clear" } }
            }
        }
    }
}

/// A button that does one thing.
pub(crate) fn action(viewer: &Viewer, path: &str, class: &str, text: &str) -> Markup {
    html! {
        form.action method="post" action=(path) {
            (token(&viewer.visit))
            button.(class) type="submit" { (text) }
        }
    }
}

/// A command to copy.
pub(crate) fn command(text: &str) -> Markup {
    html! { div.command data-copy { pre tabindex="0" { code { (text) } } } }
}

/// What to do first where there is nothing yet.
pub(crate) fn empty(visit: &Visit, title: &str, what: &str, first: &str) -> Markup {
    html! {
        div.empty {
            h2 { (title) }
            p { (what) }
            (command(&visit.command(first)))
        }
    }
}

/// A list that its filters leave nothing of.
pub(crate) fn nothing(path: &str) -> Markup {
    html! {
        div.empty {
            h2 { "Nothing fits the filters" }
            p { a href=(path) { "Show all" } }
        }
    }
}

/// JSON, with its lines and every digit as it was sent.
pub(crate) fn json(raw: &RawValue) -> Markup {
    let text = pretty(raw.get());
    let cut = text.char_indices().nth(SHOWN).map(|(end, _)| end);
    html! {
        pre.json tabindex="0" { code { (text[..cut.unwrap_or(text.len())]) } }
        @if cut.is_some() {
            p.dim { "Only its beginning: the whole has " (bytes(raw.get().len() as u64)) ", and the API gives it." }
        }
    }
}

/// The same on one line, cut short.
pub(crate) fn glimpse(raw: &RawValue) -> Markup {
    const MOST: usize = 120;
    let text = raw.get();
    let short: String = text
        .chars()
        .take(MOST)
        .map(|c| if c.is_ascii_control() { ' ' } else { c })
        .collect();
    let more = short.len() < text.len();
    html! { code.glimpse { (short) @if more { "…" } } }
}

/// Puts lines and indents into a JSON text and leaves its values as they are.
fn pretty(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut depth = 0_usize;
    let mut chars = text.chars().peekable();
    let mut in_text = false;
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    while let Some(c) = chars.next() {
        if in_text {
            out.push(c);
            match c {
                '\\' => out.extend(chars.next()),
                '"' => in_text = false,
                _ => {}
            }
            continue;
        }
        match c {
            '"' => {
                in_text = true;
                out.push(c);
            }
            '{' | '[' => {
                out.push(c);
                while chars.next_if(|next| next.is_ascii_whitespace()).is_some() {}
                if let Some(end) = chars.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(end);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => out.push(c),
        }
    }
    out
}

impl Visit {
    /// A command line of ours for this server.
    pub fn command(&self, arguments: &str) -> String {
        let mut line = format!("tidewire {arguments}");
        if self.base != "http://127.0.0.1:8080" {
            line.push_str(&format!(" --server {}", self.base));
        }
        if !self.is_open {
            line.push_str(" --api-key \"$TIDEWIRE_API_KEY\"");
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_gets_lines_and_keeps_its_digits() {
        let text = r#"{"a":[1.10,{}, [ ]],"b":"x:\"{,","c":12345678901234567890123}"#;
        let lines = [
            "{",
            "  \"a\": [",
            "    1.10,",
            "    {},",
            "    []",
            "  ],",
            "  \"b\": \"x:\\\"{,\",",
            "  \"c\": 12345678901234567890123",
            "}",
        ];
        assert_eq!(pretty(text), lines.join("\n"));
        assert_eq!(pretty("null"), "null");
    }

    #[test]
    fn numbers_are_readable() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(count(number), text);
        }
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_500), "1.5 kB");
        assert_eq!(bytes(2_000_000_000), "2.0 GB");
    }

    #[test]
    fn what_somebody_wrote_is_text() {
        let raw = RawValue::from_string(r#"{"x":"<script>alert(1)</script>"}"#.to_owned());
        let raw = raw.unwrap();
        for shown in [
            json(&raw),
            glimpse(&raw),
            state("<b>"),
            link("/ui/", "\"><b>"),
        ] {
            let text = shown.into_string();
            assert!(!text.contains("<script") && !text.contains("<b>"), "{text}");
        }
        let next = pager("/ui/jobs", &[("type", Some("a&b=\"c"))], Some("x"));
        let next = next.into_string();
        assert!(next.contains("type=a%26b%3D%22c&amp;cursor=x"), "{next}");
    }
}
