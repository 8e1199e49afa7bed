//! The JSON Schema that configs of a tenant must fit, where there is one. The operator alone sets it;
//! all the same nothing that it refers to is fetched, and its patterns run in linear time.

use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::{Value, value::RawValue};
use tidewire_core::{FieldError, Kind, Problem};

const MAX_SCHEMA: usize = 64 << 10;
/// Violations that one answer names.
const MAX_ERRORS: usize = 100;

pub(crate) struct Schema(Validator);

impl Schema {
    /// Compiles a schema, of draft 2020-12 unless its `$schema` names another.
    pub fn parse(raw: &RawValue) -> Result<Self, Problem> {
        let bytes = raw.get().len();
        if bytes > MAX_SCHEMA {
            let detail = format!("has {bytes} bytes, and {MAX_SCHEMA} are the most");
            return Err(Problem::invalid("/schema", detail));
        }
        let schema: Value = serde_json::from_str(raw.get())
            .map_err(|error| Problem::invalid("/schema", format!("cannot be read: {error}")))?;
        jsonschema::options()
            .offline()
            .with_pattern_options(PatternOptions::regex())
            .build(&schema)
            .map(Schema)
            .map_err(|error| {
                let pointer = format!("/schema{}", error.instance_path());
                let detail = format!("is no JSON Schema that can be used: {}", error.masked());
                Problem::invalid(pointer, detail)
            })
    }

    /// One entry for each violation, with a pointer into the request.
    pub fn check(&self, config: &RawValue) -> Result<(), Problem> {
        let config: Value = serde_json::from_str(config.get())
            .map_err(|error| Problem::new(Kind::Internal, format!("a config: {error}")))?;
        let entry = |error: ValidationError<'_>| FieldError {
            pointer: format!("/config{}", error.instance_path()),
            // Values may be secrets.
            detail: error.masked().to_string(),
        };
        let errors = self.0.iter_errors(&config).take(MAX_ERRORS).map(entry);
        Problem::all(errors.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn what_does_not_fit_is_named_by_its_place() {
        let schema = raw(
            r#"{"type": "object", "required": ["url"], "properties": {"url": {"type": "string", "pattern": "^https:"}}}"#,
        );
        let schema = Schema::parse(&schema).unwrap();
        schema.check(&raw(r#"{"url": "https://x"}"#)).unwrap();
        let bad = schema
            .check(&raw(r#"{"url": "ftp://hunter2"}"#))
            .unwrap_err();
        assert_eq!(bad.errors[0].pointer, "/config/url");
        assert!(!bad.detail.contains("hunter2"), "{}", bad.detail);
        assert!(schema.check(&raw("{}")).is_err());
    }

    #[test]
    fn a_schema_that_is_none_is_refused() {
        for bad in [
            r#"{"type": 7}"#,
            r#"{"pattern": "(a"}"#,
            r#"{"$ref": "https://example.com/schema.json"}"#,
            "3",
        ] {
            assert!(Schema::parse(&raw(bad)).is_err(), "{bad}");
        }
    }
}
