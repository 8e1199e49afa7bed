//! What can go wrong with objects. Every sentence names the object and the place.

use std::error::Error as _;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Settings(String),
    #[error("`{key}` cannot be an object's key: {why}")]
    Key { key: String, why: String },
    #[error("there is no object `{key}` in {place}")]
    Missing { key: String, place: String },
    #[error(
        "there is another object `{key}` in {place} already, and objects are never overwritten: write under a new key"
    )]
    Exists { key: String, place: String },
    /// What is there is not what was written.
    #[error(
        "the object `{key}` in {place} has {actual} bytes where {expected} were written: it was cut short or replaced, write it again"
    )]
    Size {
        key: String,
        place: String,
        expected: u64,
        actual: u64,
    },
    /// The same, with as many bytes.
    #[error(
        "the object `{key}` in {place} has the SHA-256 {actual}, and {expected} was written: it is damaged or was replaced, write it again"
    )]
    Checksum {
        key: String,
        place: String,
        expected: String,
        actual: String,
    },
    #[error("cannot {what} the object `{key}` in {place}: {why}")]
    Failed {
        what: String,
        key: String,
        place: String,
        why: String,
    },
    #[error("cannot {what} {place}: {why}")]
    Place {
        what: &'static str,
        place: String,
        why: String,
    },
}

/// The library's sentence with what would do. Answers of S3 are cut down to their code and message: they
/// repeat the access key.
pub(super) fn why(error: &object_store::Error) -> String {
    let said = told(error);
    if is_about_bucket(error) {
        return format!("{said}: make the bucket, or name another");
    }
    if is_refused(error) {
        return format!("{said}: are the access key and its rights the right ones?");
    }
    if of_connecting(error) {
        return format!("{said}: does it run, and is the endpoint the right one?");
    }
    said
}

/// The library has kinds for this, and does not use them of lists.
fn is_refused(error: &object_store::Error) -> bool {
    let code = whole(error);
    let code = element(&code, "Code");
    let by_code = [
        "AccessDenied",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
    ];
    code.is_some_and(|code| by_code.contains(&code))
        || matches!(
            error,
            object_store::Error::PermissionDenied { .. }
                | object_store::Error::Unauthenticated { .. }
        )
}

/// Whether it is not the object that is missing but all of its bucket.
pub(super) fn is_about_bucket(error: &object_store::Error) -> bool {
    element(&whole(error), "Code") == Some("NoSuchBucket")
}

fn of_connecting(error: &object_store::Error) -> bool {
    let text = whole(error).to_lowercase();
    [
        "error trying to connect",
        "connection refused",
        "tcp connect error",
        "dns error",
    ]
    .iter()
    .any(|sign| text.contains(sign))
}

/// With all that it stands on.
fn whole(error: &object_store::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(one) = cause {
        let next = one.to_string();
        // Most of them repeat their cause.
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = one.source();
    }
    text
}

fn told(error: &object_store::Error) -> String {
    const MOST: usize = 400;
    let text = whole(error);
    let text = match (element(&text, "Code"), element(&text, "Message")) {
        (Some(code), Some(message)) => format!("{message} ({code})"),
        (Some(code), None) => code.to_owned(),
        (None, _) => {
            // Nothing of a body in another form.
            let plain = text.split(['<', '\n']).next().unwrap_or_default();
            plain.trim_end_matches([' ', ':', '-']).to_owned()
        }
    };
    text.chars().take(MOST).collect()
}

/// What stands between `<NAME>` and `</NAME>`.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (inside, _) = rest.split_once(&format!("</{name}>"))?;
    Some(inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(body: &str) -> object_store::Error {
        object_store::Error::PermissionDenied {
            path: "a/b".to_owned(),
            source: format!("Server returned non-2xx status code: 403 Forbidden: {body}").into(),
        }
    }

    #[test]
    fn an_answer_of_s3_is_told_without_the_access_key() {
        let body = "<?xml version=\"1.0\"?><Error><Code>SignatureDoesNotMatch</Code><Message>The request signature does \
                    not match</Message><AWSAccessKeyId>AKIASECRET</AWSAccessKeyId></Error>";
        let told = why(&answered(body));
        assert_eq!(
            told,
            "The request signature does not match (SignatureDoesNotMatch): are the access key and its rights the right ones?"
        );
        let told = why(&answered("<html>AKIASECRET</html>"));
        assert!(
            told.contains("403 Forbidden") && !told.contains("AKIASECRET"),
            "{told}"
        );
    }

    #[test]
    fn a_bucket_that_is_not_there_is_told_from_an_object() {
        let missing = |code: &str| object_store::Error::NotFound {
            path: "a/b".to_owned(),
            source: format!("404: <Error><Code>{code}</Code></Error>").into(),
        };
        assert!(is_about_bucket(&missing("NoSuchBucket")));
        assert!(!is_about_bucket(&missing("NoSuchKey")));
        assert_eq!(
            why(&missing("NoSuchBucket")),
            "NoSuchBucket: make the bucket, or name another"
        );
    }
}
