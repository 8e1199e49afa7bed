//! Payloads on the command line: JSON itself, `@FILE`, or `-` for standard input.

use std::{fs::File, io::Read};

use serde_json::value::RawValue;

use super::{Fault, output};

/// Far beyond what a server takes (256 KiB), so that it is the server that says no.
const MOST_BYTES: u64 = 8 * 1024 * 1024;

/// Reads what `--payload` names and checks that it is JSON; it is sent as it was written.
pub(super) fn read(given: &str) -> Result<Box<RawValue>, Fault> {
    read_as("payload", given)
}

/// The same for what is called otherwise.
pub(super) fn read_as(what: &str, given: &str) -> Result<Box<RawValue>, Fault> {
    let (text, from) = match given.strip_prefix('@') {
        Some(path) => {
            let file = File::open(path).map_err(|error| {
                Fault::Usage(format!("cannot read the {what} from `{path}`: {error}"))
            })?;
            (whole(what, file, path)?, format!("`{path}`"))
        }
        None if given == "-" => (piped(what)?, "standard input".to_owned()),
        None => (
            given.to_owned(),
            format!("`{}`", output::shorten(given, 64)),
        ),
    };
    RawValue::from_string(text.trim().to_owned()).map_err(|error| {
        Fault::Usage(format!(
            "the {what} in {from} is not JSON: {error}; give JSON in single quotes, @FILE, or - for standard input"
        ))
    })
}

/// What is read from standard input, whole.
pub(super) fn piped(what: &str) -> Result<String, Fault> {
    whole(what, std::io::stdin().lock(), "-")
}

fn whole(what: &str, reader: impl Read, name: &str) -> Result<String, Fault> {
    let mut text = String::new();
    reader
        .take(MOST_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(|error| Fault::Usage(format!("cannot read the {what} from `{name}`: {error}")))?;
    if text.len() as u64 > MOST_BYTES {
        return Err(Fault::Usage(format!(
            "the {what} in `{name}` is longer than {MOST_BYTES} bytes"
        )));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_kept_as_written_and_must_be_json() {
        assert_eq!(read("{\"n\": 1.500}").unwrap().get(), "{\"n\": 1.500}");
        let Err(Fault::Usage(text)) = read("{n: 1}") else {
            panic!("taken")
        };
        assert!(
            text.contains("`{n: 1}`") && text.contains("single quotes"),
            "{text}"
        );
        assert!(matches!(read("@/no/such/file"), Err(Fault::Usage(_))));
    }
}
