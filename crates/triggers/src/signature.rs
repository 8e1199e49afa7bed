//! How deliveries are signed: as Standard Webhooks has it (<https://www.standardwebhooks.com>), symmetric, version 1.
//!
//! `webhook-signature` is `v1,` and the base64 of the HMAC-SHA256 of `ID.TIMESTAMP.BODY`, once for each secret, with
//! spaces between them: while a secret is rotated, a receiver that knows either of them is content.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tidewire_core::Time;

use crate::config::Secret;

pub const ID_HEADER: &str = "webhook-id";
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";
pub const SIGNATURE_HEADER: &str = "webhook-signature";

/// The value of `webhook-timestamp`: whole seconds since 1970.
#[must_use]
pub fn timestamp(at: Time) -> i64 {
    at.millis().div_euclid(1000)
}

/// The value of `webhook-signature`. `None` without a secret.
#[must_use]
pub fn sign(id: &str, timestamp: i64, body: &[u8], secrets: &[Secret]) -> Option<String> {
    let signatures: Vec<String> = secrets
        .iter()
        .map(|secret| {
            let mut mac = Hmac::<Sha256>::new_from_slice(secret.key())
                .expect("HMAC takes keys of every length");
            mac.update(format!("{id}.{timestamp}.").as_bytes());
            mac.update(body);
            format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
        })
        .collect();
    (!signatures.is_empty()).then(|| signatures.join(" "))
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use proptest::prelude::*;
    use standardwebhooks::Webhook;
    use tidewire_core::Clock;

    use super::*;

    const ID: &str = "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk";
    const BODY: &[u8] = br#"{"email":"test@example.com","username":"test_user"}"#;
    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

    fn secret(text: &str) -> Secret {
        Secret::parse(text).unwrap()
    }

    /// What a receiver gets.
    fn signed(body: &[u8], secrets: &[&str]) -> HeaderMap {
        let secrets: Vec<Secret> = secrets.iter().map(|text| secret(text)).collect();
        let at = timestamp(Clock::system().now());
        let mut headers = HeaderMap::new();
        headers.insert(ID_HEADER, ID.parse().unwrap());
        headers.insert(TIMESTAMP_HEADER, at.to_string().parse().unwrap());
        let signature = sign(ID, at, body, &secrets).unwrap();
        headers.insert(SIGNATURE_HEADER, signature.parse().unwrap());
        headers
    }

    #[test]
    fn the_signature_is_that_of_the_reference() {
        assert_eq!(
            sign(ID, 1_649_367_553, BODY, &[secret(SECRET)]).unwrap(),
            "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="
        );
        assert_eq!(sign(ID, 1_649_367_553, BODY, &[]), None);
    }

    #[test]
    fn the_reference_accepts_each_secret_while_they_are_rotated() {
        let new = format!("whsec_{}", STANDARD.encode([9; 32]));
        let headers = signed(BODY, &[SECRET, &new, "just a text"]);
        for secret in [SECRET, &new] {
            let receiver = Webhook::new(secret).unwrap();
            receiver.verify(BODY, &headers).unwrap();
            assert!(receiver.verify(b"another body", &headers).is_err());
        }
        let raw = Webhook::from_bytes(b"just a text".to_vec()).unwrap();
        raw.verify(BODY, &headers).unwrap();
        let stranger = Webhook::from_bytes(vec![1; 24]).unwrap();
        assert!(stranger.verify(BODY, &headers).is_err());
    }

    proptest! {
        #[test]
        fn the_reference_accepts_any_body_and_key(body in ".*", key in prop::collection::vec(any::<u8>(), 24..=64)) {
            let text = format!("whsec_{}", STANDARD.encode(&key));
            let headers = signed(body.as_bytes(), &[&text]);
            prop_assert!(Webhook::new(&text).unwrap().verify(body.as_bytes(), &headers).is_ok());
        }
    }
}
