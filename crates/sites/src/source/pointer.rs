//! JSON pointers (RFC 6901) into documents that stay text: nothing is parsed but the way there, and a
//! number keeps all its digits.

use std::{borrow::Cow, fmt};

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;

/// Where something is in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer(Vec<String>);

impl Pointer {
    /// The empty text points at the whole document.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Pointer(Vec::new()));
        }
        let Some(rest) = text.strip_prefix('/') else {
            return Err(format!(
                "`{text}` is no JSON pointer: it begins with `/`, as in `/data/id`"
            ));
        };
        let tokens = rest.split('/').map(|token| {
            let mut tail = token;
            while let Some(at) = tail.find('~') {
                tail = &tail[at + 1..];
                if !tail.starts_with(['0', '1']) {
                    return Err(format!(
                        "`{text}` is no JSON pointer: behind `~` stands 0 (for `~`) or 1 (for `/`)"
                    ));
                }
            }
            Ok(token.replace("~1", "/").replace("~0", "~"))
        });
        Ok(Pointer(tokens.collect::<Result<_, _>>()?))
    }

    /// What it points at, if that is there.
    #[must_use]
    pub fn find<'d>(&self, document: &'d RawValue) -> Option<&'d RawValue> {
        self.0.iter().try_fold(document, |at, token| {
            let mut reader = serde_json::Deserializer::from_str(at.get());
            Child(token).deserialize(&mut reader).ok().flatten()
        })
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for token in &self.0 {
            write!(f, "/{}", tidewire_core::json::escape(token))?;
        }
        Ok(())
    }
}

/// A text or a number, a truth too, as text; null, lists and objects are none.
pub(crate) fn text_of(raw: &RawValue) -> Option<Cow<'_, str>> {
    let text = raw.get();
    match text.as_bytes().first()? {
        b'"' => {
            let inner = text.get(1..text.len() - 1)?;
            if inner.contains('\\') {
                return serde_json::from_str::<String>(text).ok().map(Cow::Owned);
            }
            Some(Cow::Borrowed(inner))
        }
        b'{' | b'[' | b'n' => None,
        _ => Some(Cow::Borrowed(text)),
    }
}

/// The member of an object or the element of a list.
struct Child<'t>(&'t str);

impl<'de> DeserializeSeed<'de> for Child<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Child<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(is_it) = map.next_key_seed(Is(self.0))? {
            if is_it {
                found = Some(map.next_value::<&RawValue>()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let place: usize = self.0.parse().map_err(A::Error::custom)?;
        let mut found = None;
        let mut at = 0;
        while let Some(element) = seq.next_element::<&RawValue>()? {
            if at == place {
                found = Some(element);
            }
            at += 1;
        }
        Ok(found)
    }
}

/// Whether a key is this one.
struct Is<'t>(&'t str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn a_pointer_leads_to_its_place() {
        let document = raw(r#"{"data": [{"a/b": 1.50, "~": "t"}, null], "": {"x": true}}"#);
        let at = |pointer: &str| {
            let found = Pointer::parse(pointer).unwrap().find(&document);
            found.map(|raw| raw.get().to_owned())
        };
        assert_eq!(at("/data/0/a~1b").as_deref(), Some("1.50"));
        assert_eq!(at("/data/0/~0").as_deref(), Some("\"t\""));
        assert_eq!(at("/data/1").as_deref(), Some("null"));
        assert_eq!(at("//x").as_deref(), Some("true"));
        assert_eq!(at("").as_deref(), Some(document.get()));
        for nowhere in ["/data/2", "/data/x", "/datum", "/data/0/a~1b/c"] {
            assert_eq!(at(nowhere), None, "{nowhere}");
        }
        for bad in ["data", "/~", "/a~2"] {
            assert!(Pointer::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Pointer::parse("/a~1b/~0").unwrap().to_string(), "/a~1b/~0");
    }

    #[test]
    fn scalars_are_texts_with_all_their_digits() {
        let text = |json: &str| text_of(&raw(json)).map(Cow::into_owned);
        assert_eq!(
            text("12345678901234567890").as_deref(),
            Some("12345678901234567890")
        );
        assert_eq!(text(r#""a \u00e4 \" b""#).as_deref(), Some("a ä \" b"));
        assert_eq!(text("\"\"").as_deref(), Some(""));
        assert_eq!(text("true").as_deref(), Some("true"));
        for none in ["null", "{}", "[1]"] {
            assert_eq!(text(none), None);
        }
    }

    proptest! {
        /// The judge is serde_json's own pointer.
        #[test]
        fn it_finds_what_another_finds(keys in prop::collection::vec("[a-c~/]{0,2}", 0..4), asked in "(/[a-c01]{0,2}){0,3}") {
            let mut value = Value::from(7);
            for key in keys.iter().rev() {
                value = serde_json::json!({ key.as_str(): [value, 1] });
            }
            let document = raw(&value.to_string());
            let expected = value.pointer(&asked).map(Value::to_string);
            let found = Pointer::parse(&asked).unwrap().find(&document).map(|raw| raw.get().to_owned());
            // A list's element has one number here, and RFC 6901 knows no leading zeros.
            prop_assume!(!asked.contains("/00") && !asked.contains("/01"));
            prop_assert_eq!(found, expected);
        }
    }
}
