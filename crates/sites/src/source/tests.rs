//! Definitions as their authors write them.

use serde_json::{json, value::RawValue};
use tempfile::TempDir;

use super::*;

const SMALL: &str = r#"kind = "shop"

[auth]
type = "bearer"

[resources.orders]
path = "/orders"
records = "/data"
id = "/id"

[resources.orders.event]
type = "order"
dedupe_key = "order:{site}:{id}"
"#;

fn raw(value: &serde_json::Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).unwrap()
}

fn fault(text: &str) -> BadSource {
    Source::read("shop.toml", text).expect_err(text)
}

#[test]
fn a_small_definition_is_enough() {
    let source = Source::read("shop.toml", SMALL).unwrap();
    assert_eq!(
        (source.kind.as_str(), source.names()),
        ("shop", vec!["orders"])
    );
    let resource = source.resource("orders").unwrap();
    let record = raw(&json!({"id": 17, "note": "x"}));
    let made = resource.events_of("a", &record, false).unwrap();
    assert_eq!(made.len(), 1);
    assert_eq!(
        (
            made[0].kind.as_str(),
            made[0].dedupe_key.as_str(),
            &made[0].subject
        ),
        ("order", "order:a:17", &None)
    );
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    for (line, with, said) in [
        (1, SMALL.replace("\"shop\"", "\"my shop\""), "kind"),
        (4, SMALL.replace("bearer", "cookie"), "cookie"),
        (
            5,
            SMALL.replace("\"bearer\"", "\"header\"\nname = \"a b\""),
            "auth.name",
        ),
        (
            5,
            SMALL.replace("\"bearer\"", "\"bearer\"\nname = \"a\""),
            "does not go with",
        ),
        (
            4,
            SMALL.replace("\"bearer\"", "\"header\"\nname = \"X-Key\"\nvalue = \"x\""),
            "{key}",
        ),
        (
            7,
            SMALL.replace("\"/orders\"", "\"orders\""),
            "resources.orders.path",
        ),
        (7, SMALL.replace("/orders\"", "/{shop}\""), "{shop}"),
        (
            8,
            SMALL.replace("\"/data\"", "\"data\""),
            "resources.orders.records",
        ),
        (
            10,
            SMALL.replace("id = \"/id\"", "id = \"/id\"\nsize = 10"),
            "size",
        ),
        (
            10,
            SMALL.replace("id = \"/id\"", "id = \"/id\"\ntime_format = \"unix\""),
            "time_format",
        ),
        (
            12,
            SMALL.replace("\"order\"", "\"new order\""),
            "resources.orders.event.type",
        ),
        (13, SMALL.replace(":{id}", ""), "{id} must stand in it"),
        (13, SMALL.replace("{site}:", ""), "{site} must stand in it"),
        (
            12,
            format!("{SMALL}attribution = true\n"),
            "`subject` is missing",
        ),
        (
            15,
            format!("{SMALL}[resources.orders.pagination]\ntype = \"pages\"\n"),
            "pages",
        ),
        (
            15,
            format!(
                "{SMALL}[resources.orders.pagination]\ntype = \"cursor\"\nparameter = \"after\"\n"
            ),
            "pagination.next",
        ),
        (
            16,
            format!(
                "{SMALL}[resources.orders.pagination]\ntype = \"link\"\nparameter = \"page\"\n"
            ),
            "does not go with",
        ),
        (
            16,
            format!("{SMALL}[resources.orders.pagination]\ntype = \"page\"\nparameter = \"\"\n"),
            "pagination.parameter",
        ),
        (
            17,
            format!(
                "{SMALL}[resources.orders.pagination]\ntype = \"offset\"\nparameter = \"o\"\ntotal = \"t\"\n"
            ),
            "pagination.total",
        ),
        (
            15,
            format!("{SMALL}[resources.orders.incremental]\ncursor = \"/at\"\n"),
            "newest_first",
        ),
        (
            17,
            format!(
                "{SMALL}[resources.orders.incremental]\ncursor = \"/at\"\nparameter = \"since\"\noverlap = 5\n"
            ),
            "overlap",
        ),
        (
            17,
            format!(
                "{SMALL}[resources.orders.incremental]\ncursor = \"/at\"\nparameter = \"since\"\nlag = \"soon\"\n"
            ),
            "incremental.lag",
        ),
        (
            18,
            format!(
                "{SMALL}[resources.orders.incremental]\ncursor = \"/at\"\nparameter = \"since\"\nexpires = \"1d\"\nrefreshes = [\"users\"]\n"
            ),
            "`users`",
        ),
    ] {
        let bad = fault(&with);
        assert!(bad.what.contains(said), "{bad}: {said}");
        assert_eq!(bad.line, line, "{bad}");
        assert!(
            bad.to_string().starts_with(&format!("shop.toml:{line}: ")),
            "{bad}"
        );
    }
    assert!(fault("kind = ").line == 1);
    assert!(
        fault(&SMALL.replace("[auth]\ntype = \"bearer\"\n", ""))
            .what
            .contains("auth")
    );
}

#[test]
fn those_that_come_along_are_sound() {
    let sources = Sources::shipped();
    assert_eq!(sources.kinds(), ["builder", "github", "stripe"]);
    assert_eq!(sources.get("builder").unwrap().names(), ["users", "orders"]);
    assert_eq!(
        sources.get("stripe").unwrap().names(),
        ["events", "customers", "charges"]
    );

    let builder = sources.get("builder").unwrap();
    let user = raw(&json!({"id": "usr_1", "created_at": "2026-01-31T12:00:00Z"}));
    let made = builder
        .resource("users")
        .unwrap()
        .events_of("s", &user, false)
        .unwrap();
    assert_eq!(made[0].dedupe_key, "signup:s:usr_1");
    assert_eq!(
        (made[0].kind.as_str(), made[0].attribution),
        ("signup", true)
    );
    assert_eq!(
        made[0].occurred_at,
        Some("2026-01-31T12:00:00Z".parse().unwrap())
    );
    let order =
        raw(&json!({"id": "ord_1", "user_id": "usr_1", "created_at": "2026-01-31T12:00:00Z"}));
    let made = builder
        .resource("orders")
        .unwrap()
        .events_of("s", &order, false)
        .unwrap();
    assert_eq!(made[0].dedupe_key, "order:s:ord_1");
    assert_eq!(made[0].subject.as_deref(), Some("usr_1"));

    let stripe = sources
        .get("stripe")
        .unwrap()
        .resource("customers")
        .unwrap();
    let customer = raw(&json!({"id": "cus_1", "created": 1_700_000_000, "name": "a"}));
    assert_eq!(stripe.events_of("s", &customer, false).unwrap().len(), 1);
    let again = stripe.events_of("s", &customer, true).unwrap();
    let changed = raw(&json!({"id": "cus_1", "created": 1_700_000_000, "name": "b"}));
    let changed = stripe.events_of("s", &changed, true).unwrap();
    assert_eq!(again[1].kind, "customer_snapshot");
    assert_eq!(again[0].dedupe_key, changed[0].dedupe_key);
    assert_ne!(again[1].dedupe_key, changed[1].dedupe_key);
}

#[test]
fn a_record_that_makes_no_event_says_why() {
    let sources = Sources::shipped();
    let users = sources.get("builder").unwrap().resource("users").unwrap();
    for (record, why) in [
        (
            r#"{"created_at": "2026-01-31T12:00:00Z"}"#,
            "no id at `/id`",
        ),
        (
            r#"{"id": {"n": 1}, "created_at": "2026-01-31T12:00:00Z"}"#,
            "no id",
        ),
        (r#"{"id": "a"}"#, "no time at `/created_at`"),
        (r#"{"id": "a", "created_at": "yesterday"}"#, "yesterday"),
        (
            r#"{"id": "a", "n": 1e999, "created_at": "2026-01-31T12:00:00Z"}"#,
            "/n",
        ),
        ("[1]", "no object"),
    ] {
        let record = RawValue::from_string(record.to_owned()).unwrap();
        let error = users.events_of("s", &record, false).unwrap_err();
        assert!(error.contains(why), "{error}: {why}");
    }
}

#[test]
fn cursors_are_read_and_written_as_the_source_has_them() {
    let at = 1_700_000_000_123_456;
    for (format, text, written) in [
        (
            Format::Rfc3339,
            "2023-11-14T22:13:20.123456Z",
            "2023-11-14T22:13:20Z",
        ),
        (Format::Unix, "1700000000.123456", "1700000000"),
    ] {
        assert_eq!(format.read(text), Ok(at), "{text}");
        assert_eq!(format.write(at), written);
    }
    assert_eq!(
        Format::UnixMillis.read("1700000000123"),
        Ok(1_700_000_000_123_000)
    );
    assert_eq!(Format::UnixMillis.write(at), "1700000000123");
    assert_eq!(Format::Number.read("42"), Ok(42));
    assert_eq!(Format::Number.write(42), "42");
    for (format, bad) in [
        (Format::Unix, "now"),
        (Format::Rfc3339, "17"),
        (Format::Number, ""),
    ] {
        assert!(format.read(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_folder_adds_kinds_and_goes_before_those_that_come_along() {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("shop.toml", SMALL);
    write("builder.toml", &SMALL.replace("\"shop\"", "\"builder\""));
    write("notes.txt", "not a definition");
    let sources = Sources::with_folder(folder.path()).unwrap();
    assert_eq!(sources.kinds(), ["builder", "github", "shop", "stripe"]);
    assert_eq!(sources.get("builder").unwrap().names(), ["orders"]);
    write("other.toml", SMALL);
    assert!(
        Sources::with_folder(folder.path())
            .unwrap_err()
            .contains("other.toml")
    );
    write("other.toml", "kind = 7");
    assert!(
        Sources::with_folder(folder.path())
            .unwrap_err()
            .contains("other.toml:1:")
    );
    assert!(
        Sources::with_folder(&folder.path().join("nowhere"))
            .unwrap_err()
            .contains("nowhere")
    );
}
