//! A bound on the work of a check.
//!
//! `{"$defs":{"a":{"allOf":[{"$ref":"#/$defs/b"},{"$ref":"#/$defs/b"}]},"b":…` doubles the work with each definition, and
//! forty of them fit into two kilobytes: without a bound, one tenant's schema and one call of its webhook would hold a
//! thread for ever. The validator has no bound of its own, so its steps are counted from both sides, and past the bound
//! the check is left by unwinding (the validator keeps its state in the call; nothing is left behind):
//!
//! - every look at the payload is a step, see [`super::counted`];
//! - every object that can be a schema is given one more keyword, which counts. It comes last, so it counts where a
//!   schema holds; where one does not, something below it has looked at the payload, or is `false`, and such a `false`
//!   is written as `{"not": …}` of something that counts.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

use jsonschema::{Keyword, ValidationError, ValidationOptions, json::Json as Representation};
use serde_json::{Value as Json, json};

/// No draft has a keyword of this name.
pub(super) const COUNTER: &str = "tidewire.steps:";
thread_local! {
    static LEFT: Cell<usize> = const { Cell::new(0) };
}

/// That the steps are used up.
struct UsedUp;

/// What `check` makes, if it takes no more than `steps`.
pub(super) fn within<T>(steps: usize, check: impl FnOnce() -> T) -> Option<T> {
    LEFT.set(steps);
    match catch_unwind(AssertUnwindSafe(check)) {
        Ok(made) => Some(made),
        Err(thrown) if thrown.is::<UsedUp>() => None,
        Err(panic) => resume_unwind(panic),
    }
}

/// Counts `steps` more.
pub(super) fn step(steps: usize) {
    match LEFT.get().checked_sub(steps) {
        Some(left) => LEFT.set(left),
        // Unlike a panic this is silent.
        None => resume_unwind(Box::new(UsedUp)),
    }
}

struct Counter;

impl<'i, F: Representation> Keyword<'i, F> for Counter {
    fn validate(&self, _: F::Node<'i>) -> Result<(), ValidationError<'i>> {
        step(1);
        Ok(())
    }

    fn is_valid(&self, _: F::Node<'i>) -> bool {
        step(1);
        true
    }
}

type Options<'i, F> = ValidationOptions<'i, std::sync::Arc<dyn jsonschema::Retrieve>, F>;

/// Options of a validator that counts its steps in a schema that was prepared by [`count`].
pub(super) fn counting<F: Representation>(options: Options<'_, F>) -> Options<'_, F> {
    options.with_keyword(COUNTER, |_, _, _| Ok(Box::new(Counter)))
}

/// What stands behind a keyword.
pub(super) enum Place {
    /// Values, which are never schemas.
    Data,
    /// Schemas by names that are not keywords.
    Names,
    /// A schema, an array of them, or something of no meaning, into which a reference may still point.
    Schema,
}

pub(super) fn place(keyword: &str) -> Place {
    match keyword {
        "enum" | "const" | "default" | "examples" => Place::Data,
        "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas"
        | "dependencies" => Place::Names,
        _ => Place::Schema,
    }
}

/// Whether a `false` behind a keyword is asked of the same value as the schema that it stands in, or referred to.
fn is_in_place(keyword: &str) -> bool {
    matches!(
        keyword,
        "allOf"
            | "anyOf"
            | "oneOf"
            | "not"
            | "if"
            | "then"
            | "else"
            | "$defs"
            | "definitions"
            | "dependentSchemas"
            | "dependencies"
    )
}

/// Adds the counter to every object that can be a schema.
pub(super) fn count(schema: &mut Json) {
    count_in(schema, false);
}

fn count_in(schema: &mut Json, in_place: bool) {
    match schema {
        Json::Array(list) => {
            for schema in list {
                count_in(schema, in_place);
            }
        }
        Json::Object(members) => {
            for (keyword, value) in members.iter_mut() {
                let in_place = is_in_place(keyword);
                match (place(keyword), value) {
                    (Place::Data, _) => {}
                    (Place::Names, Json::Object(schemas)) => {
                        for schema in schemas.values_mut() {
                            count_in(schema, in_place);
                        }
                    }
                    (_, value) => count_in(value, in_place),
                }
            }
            members.insert(COUNTER.to_owned(), Json::Bool(true));
        }
        Json::Bool(false) if in_place => *schema = json!({"not": {COUNTER: true}}),
        _ => {}
    }
}
