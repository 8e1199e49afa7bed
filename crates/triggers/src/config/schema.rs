//! The JSON Schema of a webhook's payload.
//!
//! A schema comes from a tenant and is asked about payloads that come from anybody, so it stands alone and its work is
//! bounded: nothing that it refers to is ever fetched, its regular expressions run in linear time, which leaves
//! look-around and back-references out, and a check has a number of steps after which it is given up.

mod counted;
mod references;
mod steps;

use std::{fmt, sync::Arc};

use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::{Value as Json, value::RawValue};
use tidewire_core::{FieldError, Problem, problem::clip};

use counted::{Counted, Counting};

/// Bytes of a schema.
pub(super) const MAX_SCHEMA: usize = 64 << 10;
/// Violations that one answer names.
const MAX_ERRORS: usize = 100;
/// What one compiled regular expression may weigh.
const MAX_PATTERN: usize = 512 << 10;
/// Steps of one check. The largest payload has 131,000 values, and a step takes well below a microsecond.
const MAX_STEPS: usize = 1_000_000;
/// Steps of looking for all violations, each of which costs memory too. Past it only the first one is named.
const MAX_ERROR_STEPS: usize = 50_000;

/// A schema, compiled. Cheap to clone.
#[derive(Clone)]
pub struct Schema(Arc<Validator<Counting>>);

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Schema(…)")
    }
}

impl Schema {
    /// Compiles a schema, of draft 2020-12 unless its `$schema` names another. The error has a pointer into it.
    pub fn parse(raw: &RawValue) -> Result<Self, FieldError> {
        let bytes = raw.get().len();
        if bytes > MAX_SCHEMA {
            return Err(FieldError {
                pointer: String::new(),
                detail: format!("has {bytes} bytes, and {MAX_SCHEMA} are the most"),
            });
        }
        let schema: Json = serde_json::from_str(raw.get()).map_err(|error| FieldError {
            pointer: String::new(),
            detail: format!("cannot be read: {error}"),
        })?;
        let mut counting = schema.clone();
        steps::count(&mut counting);
        references::check(&counting)?;
        // First as it is, so that a fault is told of what was sent and not of what was added to it.
        let patterns = PatternOptions::regex()
            .size_limit(MAX_PATTERN)
            .dfa_size_limit(MAX_PATTERN);
        let plain = jsonschema::options_for::<Counting>()
            .offline()
            .with_pattern_options(patterns);
        let built = plain
            .build(&schema)
            .and_then(|_| steps::counting(plain).build(&counting));
        match built {
            Ok(validator) => Ok(Schema(Arc::new(validator))),
            Err(error) => Err(FieldError {
                // The error is about the schema as an instance of its own schema.
                pointer: error.instance_path().to_string(),
                detail: format!("is no JSON Schema that can be used: {}", text(&error)),
            }),
        }
    }

    /// Checks a payload: one entry for each violation, with a pointer into the payload.
    pub fn check(&self, payload: &RawValue) -> Result<(), Problem> {
        let payload: Json = serde_json::from_str(payload.get())
            .map_err(|error| Problem::invalid("", format!("cannot be read: {error}")))?;
        match steps::within(MAX_STEPS, || self.0.is_valid(Counted(&payload))) {
            Some(true) => return Ok(()),
            Some(false) => {}
            None => {
                let detail = format!(
                    "takes more than {MAX_STEPS} steps to check against the trigger's schema: send less, or simplify the schema"
                );
                return Err(Problem::invalid("", detail));
            }
        }
        let entry = |error: ValidationError<'_>| FieldError {
            pointer: error.instance_path().to_string(),
            detail: text(&error),
        };
        let all = steps::within(MAX_ERROR_STEPS, || {
            let errors = self.0.iter_errors(Counted(&payload)).take(MAX_ERRORS);
            errors.map(entry).collect::<Vec<_>>()
        });
        let errors = all.or_else(|| {
            let first = steps::within(MAX_STEPS, || {
                self.0.validate(Counted(&payload)).err().map(entry)
            });
            first.flatten().map(|error| vec![error])
        });
        Problem::all(errors.unwrap_or_default())?;
        Err(Problem::invalid(
            "",
            "does not keep to the trigger's schema",
        ))
    }
}

/// What is wrong, in a size that fits an answer: large values are not repeated.
fn text(error: &ValidationError<'_>) -> String {
    let instance: &Json = error.instance();
    let text = match instance {
        Json::Array(_) | Json::Object(_) => error.masked().to_string(),
        Json::String(text) if text.len() > 64 => error.masked().to_string(),
        _ => error.to_string(),
    };
    match text.char_indices().nth(300) {
        Some(_) => clip(&text),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    fn schema(text: &str) -> Schema {
        Schema::parse(&raw(text)).unwrap_or_else(|error| panic!("{text}: {error:?}"))
    }

    fn pointers(schema: &Schema, payload: &str) -> Vec<String> {
        match schema.check(&raw(payload)) {
            Ok(()) => Vec::new(),
            Err(problem) => problem.errors.into_iter().map(|e| e.pointer).collect(),
        }
    }

    #[test]
    fn every_violation_is_named_at_its_place() {
        let orders = schema(
            r#"{"type":"object","required":["id"],"properties":{"id":{"type":"integer"},
                "lines":{"type":"array","items":{"type":"object","properties":{"n/m":{"minimum":1}}}}}}"#,
        );
        assert_eq!(
            pointers(&orders, r#"{"id":1,"lines":[{"n/m":2}]}"#),
            [""; 0]
        );
        assert_eq!(pointers(&orders, "[]"), [""]);
        assert_eq!(
            pointers(&orders, r#"{"id":"x","lines":[{"n/m":0},{"n/m":-1},3]}"#),
            ["/id", "/lines/0/n~1m", "/lines/1/n~1m", "/lines/2"]
        );
    }

    #[test]
    fn a_large_value_is_not_repeated_in_the_answer() {
        let strings = schema(r#"{"type":"integer"}"#);
        let long = format!("\"{}\"", "x".repeat(100_000));
        let problem = strings.check(&raw(&long)).unwrap_err();
        assert!(problem.detail.len() < 400, "{}", problem.detail.len());
        let many = schema(r#"{"items":{"type":"integer"}}"#);
        let list = format!("[{}\"x\"]", "\"x\",".repeat(5000));
        assert_eq!(pointers(&many, &list).len(), MAX_ERRORS);
    }

    #[test]
    fn a_bad_schema_is_refused_at_its_place() {
        for (text, pointer) in [
            (r#"{"type":"objekt"}"#, "/type"),
            (
                r#"{"properties":{"a":{"minimum":"1"}}}"#,
                "/properties/a/minimum",
            ),
            ("5", ""),
            (r#"{"required":"id"}"#, "/required"),
        ] {
            let error = Schema::parse(&raw(text)).expect_err(text);
            assert_eq!(error.pointer, pointer, "{text}: {}", error.detail);
        }
        let long = format!(r#"{{"title":"{}"}}"#, "x".repeat(MAX_SCHEMA));
        assert!(Schema::parse(&raw(&long)).is_err());
    }

    #[test]
    fn nothing_is_fetched() {
        for text in [
            r#"{"$ref":"http://127.0.0.1:1/schema.json"}"#,
            r#"{"$ref":"https://example.com/schema.json"}"#,
            r#"{"$ref":"file:///etc/passwd"}"#,
            r#"{"$schema":"https://example.com/meta.json"}"#,
            r#"{"$ref":"other.json"}"#,
        ] {
            assert!(Schema::parse(&raw(text)).is_err(), "{text}");
        }
        // What the schema brings along, and the drafts' own schemas, are there.
        schema(r##"{"$ref":"#/$defs/a","$defs":{"a":{"type":"string"}}}"##);
        schema(r#"{"$ref":"https://json-schema.org/draft/2020-12/schema"}"#);
    }

    #[test]
    fn drafts_are_told_apart() {
        // In 2020-12 `items` is one schema and `prefixItems` the list; draft 7 has the list in `items`.
        let newest = schema(r#"{"prefixItems":[{"type":"string"}]}"#);
        assert_eq!(pointers(&newest, "[1]"), ["/0"]);
        assert!(Schema::parse(&raw(r#"{"items":[{"type":"string"}]}"#)).is_err());
        let seventh = schema(
            r#"{"$schema":"http://json-schema.org/draft-07/schema#","items":[{"type":"string"}]}"#,
        );
        assert_eq!(pointers(&seventh, "[1]"), ["/0"]);
        assert_eq!(pointers(&schema("false"), "1"), [""]);
        assert_eq!(pointers(&schema("true"), "1"), [""; 0]);
    }

    #[test]
    fn a_small_schema_cannot_make_much_work() {
        // Each step doubles the work of the next: 2^50 visits of one value, in two drafts, by references and by depth.
        let chain = |keyword: &str, place: &str, draft: &str| {
            let steps: String = (0..50)
                .map(|n| {
                    let next = format!(r##"{{"$ref":"#/{place}/d{}"}}"##, n + 1);
                    format!(r#""d{n}":{{"{keyword}":[{next},{next}]}},"#)
                })
                .collect();
            format!(
                r##"{{{draft}"allOf":[{{"$ref":"#/{place}/d0"}}],"{place}":{{{steps}"d50":{{"type":"string"}}}}}}"##
            )
        };
        for draft in [
            "",
            r#""$schema":"http://json-schema.org/draft-07/schema#","#,
        ] {
            for keyword in ["allOf", "anyOf", "oneOf"] {
                for place in ["$defs", "elsewhere"] {
                    let bomb = schema(&chain(keyword, place, draft));
                    assert!(bomb.check(&raw("1")).is_err(), "{draft} {keyword} {place}");
                    let problem = bomb.check(&raw("\"x\"")).err();
                    let steps = problem.is_none_or(|problem| problem.detail.contains("steps"));
                    assert!(steps, "{draft} {keyword} {place}");
                }
            }
        }
        let deep = schema(r##"{"items":{"allOf":[{"$ref":"#"},{"$ref":"#"}]}}"##);
        let nested = format!("{}{}", "[".repeat(60), "]".repeat(60));
        let problem = deep.check(&raw(&nested)).err();
        assert!(problem.is_none_or(|problem| problem.detail.contains("steps")));
        // The same thread checks on.
        assert!(schema("true").check(&raw("1")).is_ok());
    }

    #[test]
    fn a_reference_goes_to_a_schema_and_nowhere_else() {
        for (text, pointer) in [
            (
                r##"{"allOf":[{"$ref":"#/x/properties"}],"x":{"properties":{"allOf":[]}}}"##,
                "/allOf/0/$ref",
            ),
            (
                r##"{"$ref":"#/enum/0","enum":[{"type":"string"}]}"##,
                "/$ref",
            ),
            (r##"{"$ref":"#/$defs/gone"}"##, "/$ref"),
        ] {
            let error = Schema::parse(&raw(text)).expect_err(text);
            assert_eq!(error.pointer, pointer, "{text}: {}", error.detail);
        }
        for text in [
            r##"{"$ref":"#/$defs/a~1b%20c","$defs":{"a/b c":{"type":"string"}}}"##,
            r##"{"$ref":"#name","$defs":{"a":{"$anchor":"name","type":"string"}}}"##,
            r##"{"$ref":"#/properties/x/items","properties":{"x":{"items":{"type":"string"}}}}"##,
            r##"{"$ref":"https://a.example/b#/$defs/c","$defs":{"b":{"$id":"https://a.example/b","$defs":{"c":{"type":"string"}}}}}"##,
            r##"{"properties":{"$ref":{"type":"string"},"enum":{"$ref":"#/$defs/s"}},"$defs":{"s":{}},"type":"string"}"##,
        ] {
            assert_eq!(pointers(&schema(text), "\"x\""), [""; 0], "{text}");
            assert_eq!(pointers(&schema(text), "5"), [""], "{text}");
        }
    }

    #[test]
    fn a_schema_of_many_patterns_is_refused() {
        let many = |n: usize| {
            let pattern = r#"{"pattern":"^[a-z]+$"}"#;
            format!(r#"{{"anyOf":[{}]}}"#, vec![pattern; n].join(","))
        };
        schema(&many(64));
        let error = Schema::parse(&raw(&many(65))).unwrap_err();
        assert!(error.detail.contains("65"), "{}", error.detail);
    }

    #[test]
    fn a_schema_of_many_documents_is_refused() {
        let documents = |keyword: &str, n: usize| {
            let documents: Vec<_> = (0..n)
                .map(|n| format!(r#""d{n}":{{"{keyword}":"http://a.example/{n}"}}"#))
                .collect();
            format!(
                r#"{{"$id":"http://a.example/","$defs":{{{}}}}}"#,
                documents.join(",")
            )
        };
        schema(&documents("$id", 2));
        let error = Schema::parse(&raw(&documents("$id", 3))).unwrap_err();
        assert!(error.detail.contains("`$id`"), "{}", error.detail);
        // Where `id` is no keyword it is a name like any other.
        schema(&documents("id", 3));
        schema(
            r#"{"properties":{"$id":{},"id":{}},"default":[{"$id":"x"},{"$id":"y"},{"$id":"z"}]}"#,
        );
    }

    #[test]
    fn counting_changes_no_answer() {
        let orders = schema(
            r##"{"properties":{"a":{"$ref":"#/$defs/even"}},"additionalProperties":false,"minProperties":1,
                "unevaluatedProperties":false,"const":{"a":4},"$defs":{"even":{"multipleOf":2}}}"##,
        );
        assert_eq!(pointers(&orders, r#"{"a":4}"#), [""; 0]);
        assert_eq!(pointers(&orders, r#"{"a":3}"#), ["", "/a"]);
        let both = schema(r#"{"enum":[{"enum":{"x":1}},{"properties":{}}]}"#);
        assert_eq!(pointers(&both, r#"{"enum":{"x":1}}"#), [""; 0]);
        let unevaluated =
            schema(r#"{"allOf":[{"properties":{"a":true}}],"unevaluatedProperties":false}"#);
        assert_eq!(pointers(&unevaluated, r#"{"a":1}"#), [""; 0]);
        assert_eq!(pointers(&unevaluated, r#"{"b":1}"#), [""]);
    }

    #[test]
    fn what_goes_round_in_circles_ends() {
        for (text, payload) in [
            (r##"{"$ref":"#"}"##, "1"),
            (r##"{"allOf":[{"$ref":"#"}]}"##, "1"),
            (r##"{"not":{"$ref":"#"}}"##, "1"),
            (r##"{"$dynamicRef":"#"}"##, "1"),
            (
                r##"{"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}}}"##,
                "1",
            ),
            (
                r##"{"properties":{"x":{"$ref":"#"}},"type":"object"}"##,
                r#"{"x":{"x":{"x":{}}}}"#,
            ),
        ] {
            if let Ok(schema) = Schema::parse(&raw(text)) {
                let _ = schema.check(&raw(payload));
            }
        }
        let nested = format!("{}1{}", r#"{"x":"#.repeat(60), "}".repeat(60));
        let tree = schema(r##"{"properties":{"x":{"$ref":"#"}},"type":"object"}"##);
        assert_eq!(pointers(&tree, &nested), [r"/x".repeat(60)]);
    }

    #[test]
    fn patterns_are_those_of_linear_time() {
        schema(r#"{"pattern":"^[a-z]+\\d{2,4}$"}"#);
        for text in [
            r#"{"pattern":"(?=x)y"}"#,
            r#"{"pattern":"(a)\\1"}"#,
            r#"{"pattern":"("}"#,
            r#"{"pattern":"(((a{1,1000}){1,1000}){1,1000})"}"#,
        ] {
            assert!(Schema::parse(&raw(text)).is_err(), "{text}");
        }
    }
}
