//! The types of events that a trigger listens to.

use tidewire_core::{
    name::{self, TYPE_MAX},
    problem::clip,
};

/// A type, or what types begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TypePattern {
    Exact(String),
    /// Written with a `*` at its end. The empty one takes every type.
    Prefix(String),
}

impl TypePattern {
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |detail: String| {
            format!(
                "`{}` is neither a type nor the beginning of one with a `*` at its end: {detail}",
                clip(text)
            )
        };
        match text.strip_suffix('*') {
            Some("") => Ok(TypePattern::Prefix(String::new())),
            Some(prefix) => match name::check(prefix, TYPE_MAX) {
                Ok(()) => Ok(TypePattern::Prefix(prefix.to_owned())),
                Err(detail) => Err(wrong(detail)),
            },
            None => match name::check(text, TYPE_MAX) {
                Ok(()) => Ok(TypePattern::Exact(text.to_owned())),
                Err(detail) => Err(wrong(detail)),
            },
        }
    }

    #[must_use]
    pub fn matches(&self, kind: &str) -> bool {
        match self {
            TypePattern::Exact(exact) => exact == kind,
            TypePattern::Prefix(prefix) => kind.starts_with(prefix.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_exact_or_a_prefix() {
        let pattern = |text| TypePattern::parse(text).unwrap();
        assert!(pattern("order.created").matches("order.created"));
        assert!(!pattern("order.created").matches("order.created.late"));
        assert!(pattern("order.*").matches("order.created"));
        assert!(pattern("order.*").matches("order."));
        assert!(!pattern("order.*").matches("orders"));
        assert!(pattern("*").matches("anything"));
        for bad in ["", "**", "*.created", "order.*.late", "with space", "a/*"] {
            assert!(TypePattern::parse(bad).is_err(), "{bad}");
        }
    }
}
