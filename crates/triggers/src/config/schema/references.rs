//! What a schema must keep to so that its steps can be counted and its weight is bounded: its references lead to schemas
//! that count, its regular expressions are few, and so are the documents in it (the validator compiles a schema anew for
//! each way through documents that refer to each other: six of them took it minutes).

use serde_json::Value as Json;
use tidewire_core::{FieldError, json::escape, problem::clip};

use super::steps::{COUNTER, Place, place};

/// Regular expressions in one schema.
const MAX_PATTERNS: usize = 64;
/// Schemas with an `$id` of their own in one schema.
const MAX_DOCUMENTS: usize = 2;

/// Refuses what would get around the counter, references to where nothing counts, and too many patterns, in a schema that
/// was prepared by [`super::steps::count`].
pub(super) fn check(schema: &Json) -> Result<(), FieldError> {
    let mut walk = Walk {
        root: schema,
        // Draft 4 wrote it without the sign.
        id: if schema.to_string().contains("json-schema.org/draft-04/") {
            &["$id", "id"]
        } else {
            &["$id"]
        },
        patterns: 0,
        documents: 0,
    };
    walk.schema(schema, "", false)?;
    for (count, most, what) in [
        (walk.patterns, MAX_PATTERNS, "regular expressions"),
        (
            walk.documents,
            MAX_DOCUMENTS,
            "schemas with an `$id` of their own",
        ),
    ] {
        if count > most {
            return Err(FieldError {
                pointer: String::new(),
                detail: format!("has {count} {what}, and {most} are the most"),
            });
        }
    }
    Ok(())
}

struct Walk<'s> {
    root: &'s Json,
    id: &'static [&'static str],
    patterns: usize,
    documents: usize,
}

impl Walk<'_> {
    /// `embedded`: within a schema that has an `$id` of its own, from which its references count.
    fn schema(&mut self, schema: &Json, at: &str, embedded: bool) -> Result<(), FieldError> {
        match schema {
            Json::Array(list) => {
                for (n, schema) in list.iter().enumerate() {
                    self.schema(schema, &format!("{at}/{n}"), embedded)?;
                }
            }
            Json::Object(members) => {
                let own = |name: &&str| members.get(*name).is_some_and(Json::is_string);
                let document = !at.is_empty() && self.id.iter().any(own);
                self.documents += usize::from(document);
                let embedded = embedded || document;
                for (keyword, value) in members {
                    let at = format!("{at}/{}", escape(keyword));
                    match (keyword.as_str(), value) {
                        ("$ref" | "$dynamicRef" | "$recursiveRef", Json::String(to)) => {
                            self.reference(to, &at, embedded)?;
                        }
                        ("pattern", Json::String(_)) => self.patterns += 1,
                        ("patternProperties", Json::Object(names)) => self.patterns += names.len(),
                        _ => {}
                    }
                    match (place(keyword), value) {
                        (Place::Data, _) => {}
                        (Place::Names, Json::Object(schemas)) => {
                            for (name, schema) in schemas {
                                self.schema(schema, &format!("{at}/{}", escape(name)), embedded)?;
                            }
                        }
                        (_, value) => self.schema(value, &at, embedded)?,
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn reference(&self, to: &str, at: &str, embedded: bool) -> Result<(), FieldError> {
        let (document, fragment) = to.split_once('#').unwrap_or((to, ""));
        // A whole document or an anchor: both are schemas. The drafts' own schemas are known and small.
        let drafts = ["http://json-schema.org/", "https://json-schema.org/"];
        if !fragment.starts_with('/') || drafts.iter().any(|draft| document.starts_with(draft)) {
            return Ok(());
        }
        let steps: Option<Vec<String>> = fragment[1..].split('/').map(token).collect();
        let good = steps.is_some_and(|steps| {
            if document.is_empty() && !embedded {
                leads_to_schema(self.root, &steps)
            } else {
                // Where it leads is not followed here, but what stands there is always a schema.
                matches!(steps.as_slice(), [place, _] if place == "$defs" || place == "definitions")
            }
        });
        if good {
            return Ok(());
        }
        Err(FieldError {
            pointer: at.to_owned(),
            detail: format!("`{}` leads to no schema: refer to one in `$defs`", clip(to)),
        })
    }
}

/// One reference token of a pointer in a URI's fragment.
fn token(token: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(token.len());
    let mut rest = token.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            let digits = std::str::from_utf8(&digits).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    let text = String::from_utf8(bytes).ok()?;
    Some(text.replace("~1", "/").replace("~0", "~"))
}

/// Follows a pointer from a schema through places where [`super::steps::count`] looks for schemas, to one that counts.
fn leads_to_schema(schema: &Json, steps: &[String]) -> bool {
    match (schema, steps) {
        (Json::Object(members), []) => members.contains_key(COUNTER),
        (Json::Bool(always), []) => *always,
        (Json::Object(members), [keyword, rest @ ..]) => {
            match (place(keyword), members.get(keyword), rest) {
                (Place::Schema, Some(schema), rest) => leads_to_schema(schema, rest),
                (Place::Names, Some(Json::Object(schemas)), [name, rest @ ..]) => schemas
                    .get(name)
                    .is_some_and(|schema| leads_to_schema(schema, rest)),
                _ => false,
            }
        }
        (Json::Array(list), [n, rest @ ..]) => n
            .parse()
            .ok()
            .and_then(|n: usize| list.get(n))
            .is_some_and(|schema| leads_to_schema(schema, rest)),
        _ => false,
    }
}
