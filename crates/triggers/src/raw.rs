//! Looking into JSON text one level at a time. What a filter does not ask for is never built, and what a config holds
//! keeps its bytes: numbers with all their digits, objects with their order.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

/// A JSON value that was looked at, and no deeper.
#[derive(Clone, Debug)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    /// As it was written.
    Number(Cow<'a, str>),
    Text(Cow<'a, str>),
    Array(&'a RawValue),
    Object(&'a RawValue),
}

impl<'a> Value<'a> {
    pub fn of(raw: &'a RawValue) -> Self {
        let text = raw.get();
        match text.as_bytes().first() {
            Some(b'n') => Value::Null,
            Some(b't') => Value::Bool(true),
            Some(b'f') => Value::Bool(false),
            Some(b'[') => Value::Array(raw),
            Some(b'{') => Value::Object(raw),
            Some(b'"') => Value::Text(string(text)),
            _ => Value::Number(Cow::Borrowed(text)),
        }
    }

    /// What it is, for people.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::Text(_) => "a string",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        }
    }
}

/// The string that this JSON text is.
fn string(text: &str) -> Cow<'_, str> {
    let inner = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .unwrap_or(text);
    if inner.contains('\\') {
        // The text was parsed before. A lone surrogate is the only thing that may still be wrong with it, and then it
        // is no string that anything could equal.
        serde_json::from_str(text).map_or(Cow::Borrowed(text), Cow::Owned)
    } else {
        Cow::Borrowed(inner)
    }
}

/// The members of an object in their order, each as often as it stands there. `None` if it is no object.
pub(crate) fn object(raw: &RawValue) -> Option<Vec<(Cow<'_, str>, &RawValue)>> {
    serde_json::from_str::<Members<'_>>(raw.get())
        .ok()
        .map(|members| members.0)
}

/// The elements of an array. `None` if it is no array.
pub(crate) fn array(raw: &RawValue) -> Option<Vec<&RawValue>> {
    struct Elements;

    impl<'de> Visitor<'de> for Elements {
        type Value = Vec<&'de RawValue>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
            let mut elements = Vec::new();
            while let Some(element) = access.next_element()? {
                elements.push(element);
            }
            Ok(elements)
        }
    }

    serde_json::Deserializer::from_str(raw.get())
        .deserialize_seq(Elements)
        .ok()
}

/// An object written from its members, each value with its own bytes.
pub(crate) fn write(members: &[(Cow<'_, str>, &RawValue)]) -> Box<RawValue> {
    struct Object<'m>(&'m [(Cow<'m, str>, &'m RawValue)]);

    impl serde::Serialize for Object<'_> {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
        }
    }

    serde_json::value::to_raw_value(&Object(members))
        .expect("strings and JSON texts can be written as JSON")
}

struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;

        impl<'de> Visitor<'de> for All {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Name(name), value)) = access.next_entry()? {
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(All)
    }
}

/// A name that is borrowed where it has no escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(Text)
    }
}

/// The values of the wanted members of an object, in the order of `wanted`; of a name that stands there twice the last,
/// as JSON's readers have it. All others are passed over.
pub(crate) fn pick<'a>(raw: &'a RawValue, wanted: &[&str]) -> Vec<Option<&'a RawValue>> {
    struct Pick<'w>(&'w [&'w str]);

    impl<'de> Visitor<'de> for Pick<'_> {
        type Value = Vec<Option<&'de RawValue>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
            let mut found = vec![None; self.0.len()];
            while let Some(Name(name)) = access.next_key()? {
                let mut places = self.0.iter().zip(&mut found).filter(|(w, _)| **w == name);
                if let Some((_, place)) = places.next() {
                    let value = access.next_value()?;
                    *place = Some(value);
                    places.for_each(|(_, place)| *place = Some(value));
                } else {
                    access.next_value::<serde::de::IgnoredAny>()?;
                }
            }
            Ok(found)
        }
    }

    serde_json::Deserializer::from_str(raw.get())
        .deserialize_map(Pick(wanted))
        .unwrap_or_else(|_| vec![None; wanted.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn an_object_comes_apart_and_together_without_loss() {
        let text = r#"{"a":1.10,"b\n":{"z":1,"a":2},"c":10000000000000000000000000000001}"#;
        let object_text = raw(text);
        let members = object(&object_text).unwrap();
        assert_eq!(members[1].0, "b\n");
        assert_eq!(write(&members).get(), text);
        assert!(object(&raw("[]")).is_none());
        assert!(array(&raw("{}")).is_none());
        assert_eq!(array(&raw("[1, [2]]")).unwrap()[1].get(), "[2]");
    }

    #[test]
    fn members_are_picked_and_the_last_of_two_counts() {
        let text = raw(r#"{"a":1,"x":{"a":9},"\u0061":2,"b":null}"#);
        let found = pick(&text, &["b", "a", "c", "a"]);
        let found: Vec<_> = found.iter().map(|value| value.map(RawValue::get)).collect();
        assert_eq!(found, [Some("null"), Some("2"), None, Some("2")]);
        assert_eq!(pick(&raw("3"), &["a"]).len(), 1);
    }

    #[test]
    fn strings_are_unescaped() {
        let text = raw(r#""a\"\u00e9\ud83d\ude00""#);
        assert!(matches!(Value::of(&text), Value::Text(text) if text == "a\"é😀"));
    }
}
