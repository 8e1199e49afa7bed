//! Signatures as the reference library of another language judges them: the `standardwebhooks` package
//! of Python. `cargo xtask test` installs it; elsewhere the test says that it was left out.

use std::{path::PathBuf, process::Command};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;
use tidewire_testkit::{Engine, every_engine};

use super::{
    house::{House, SECRET},
    sink::{Sink, status},
};
use crate::model::ExecutionStatus;

/// A Python that has the package.
const PYTHON: &str = "TIDEWIRE_TEST_STANDARDWEBHOOKS";
const REQUIRED: &str = "TIDEWIRE_TEST_REQUIRE_ENGINES";

/// Reads requests, one JSON object a line, and says of each what the library says.
const JUDGE: &str = r#"
import base64, json, sys
from standardwebhooks import Webhook, WebhookVerificationError
for line in sys.stdin:
    asked = json.loads(line)
    try:
        Webhook(asked["secret"]).verify(base64.b64decode(asked["body"]), asked["headers"])
        print("good")
    except WebhookVerificationError as why:
        print("bad:", why)
"#;

fn python() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os(PYTHON) {
        return Some(named.into());
    }
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let installed = here.join("../../target/tools/standardwebhooks/bin/python");
    installed.exists().then_some(installed)
}

#[every_engine(sqlite)]
async fn the_reference_library_of_python_accepts_what_is_sent(engine: Engine) {
    let Some(python) = python() else {
        assert!(
            std::env::var_os(REQUIRED).is_none_or(|value| value != "1"),
            "{PYTHON} names no Python with the package standardwebhooks"
        );
        println!(
            "left out: signatures as Python's standardwebhooks judges them: run `cargo xtask test`, or name a Python that has it in {PYTHON}"
        );
        return;
    };
    let house = House::open(engine).await;
    let sink = Sink::always(status(200)).await;
    let working = house.work();
    let new = format!("whsec_{}", STANDARD.encode([9; 32]));
    let config = json!({"secret": [SECRET, new]});
    let trigger = house.trigger(&sink.url("/"), config).await;
    let payloads = [
        json!({"text": "grün € 🌊", "n": 1.5}),
        json!([]),
        json!("x".repeat(100_000)),
    ];
    for payload in payloads {
        let fired = house.fire(&trigger, payload).await;
        assert_eq!(house.ended(&fired).await.status, ExecutionStatus::Success);
    }
    working.stop().await;

    let (mut asked, mut expected) = (String::new(), Vec::new());
    let stranger = format!("whsec_{}", STANDARD.encode([1; 32]));
    for got in sink.got() {
        for (secret, verdict) in [(SECRET, "good"), (&new, "good"), (&stranger, "bad")] {
            let one = json!({
                "secret": secret,
                "body": STANDARD.encode(&got.body),
                "headers": got.headers,
            });
            asked += &format!("{one}\n");
            expected.push(verdict);
        }
        let forged = json!({
            "secret": SECRET,
            "body": STANDARD.encode(b"{}"),
            "headers": got.headers,
        });
        asked += &format!("{forged}\n");
        expected.push("bad");
    }
    let questions = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(questions.path(), asked).unwrap();
    let output = Command::new(&python)
        .args(["-c", JUDGE])
        .stdin(std::fs::File::open(questions.path()).unwrap())
        .output()
        .unwrap_or_else(|error| panic!("{} does not run: {error}", python.display()));
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let said = String::from_utf8(output.stdout).unwrap();
    let said: Vec<_> = said.lines().collect();
    assert_eq!(said.len(), expected.len());
    for (said, expected) in said.iter().zip(&expected) {
        assert!(said.starts_with(expected), "{said}, not {expected}");
    }
}
