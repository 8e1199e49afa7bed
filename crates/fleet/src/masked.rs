//! Configs as states show them, to anybody who asks: without what must stay secret.

use serde_json::{Value, value::RawValue};

const MASK: &str = "********";
/// What a header's name has in it that carries a credential.
const TELLING: [&str; 8] = [
    "auth",
    "cookie",
    "credential",
    "key",
    "password",
    "secret",
    "session",
    "token",
];

/// The config with the values of telling headers masked.
pub(crate) fn masked(config: &RawValue) -> Value {
    // It was read before, or it would not be here.
    let mut shown: Value = serde_json::from_str(config.get()).unwrap_or_default();
    if let Some(headers) = shown.get_mut("headers").and_then(Value::as_object_mut) {
        for (name, value) in headers {
            let name = name.to_ascii_lowercase();
            if TELLING.iter().any(|word| name.contains(word)) {
                *value = MASK.into();
            }
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn headers_that_carry_credentials_are_masked_and_the_rest_is_as_it_is() {
        let config = json!({"url": "http://x", "headers": {"Authorization": "a", "X-Api-Key": "b", "accept": "c"}});
        let raw = RawValue::from_string(config.to_string()).unwrap();
        assert_eq!(
            masked(&raw),
            json!({"url": "http://x", "headers": {"Authorization": MASK, "X-Api-Key": MASK, "accept": "c"}})
        );
    }
}
