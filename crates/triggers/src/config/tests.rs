use serde_json::json;

use super::*;

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}

fn parse(kind: TriggerType, config: &serde_json::Value) -> Result<Config, Problem> {
    Config::parse(kind, &raw(&config.to_string()))
}

fn good(kind: TriggerType, config: &serde_json::Value) -> Config {
    parse(kind, config).unwrap_or_else(|problem| panic!("{config}: {:?}", problem.errors))
}

/// The pointers of all faults.
fn faults(kind: TriggerType, config: &serde_json::Value) -> Vec<String> {
    let problem = parse(kind, config).expect_err(&config.to_string());
    problem
        .errors
        .into_iter()
        .map(|error| error.pointer)
        .collect()
}

fn at(text: &str) -> Time {
    text.parse().unwrap()
}

const TIME: TriggerType = TriggerType::TimeScheduled;
const CRON: TriggerType = TriggerType::CronScheduled;
const INTERVAL: TriggerType = TriggerType::IntervalScheduled;

#[test]
fn a_delivery_has_its_defaults_and_its_wishes() {
    let plain = good(
        TriggerType::Webhook,
        &json!({"endpoint": "http://a.example/x"}),
    );
    let Action::Deliver(delivery) = &plain.action else {
        panic!("{plain:?}");
    };
    assert_eq!(delivery.method, "POST");
    assert_eq!(delivery.timeout, DEFAULT_TIMEOUT);
    assert_eq!(delivery.retry, Retry::default());
    assert!(delivery.secrets.is_empty() && delivery.headers.is_empty());
    assert!(plain.payload.is_none());

    let full = good(
        TriggerType::Webhook,
        &json!({
            "endpoint": "https://a.example/x", "http_method": "PUT", "headers": {"X-A": "1"},
            "payload": null, "retry": {"max_attempts": 3, "base_seconds": 0.5, "cap_seconds": 60},
            "timeout_seconds": 2.5, "secret": ["a", "b"], "require_key": true,
            "schema": {"type": ["object", "null"]},
        }),
    );
    let Action::Deliver(delivery) = &full.action else {
        panic!("{full:?}");
    };
    assert_eq!(delivery.method, "PUT");
    assert_eq!(delivery.headers["x-a"], "1");
    assert_eq!(delivery.timeout, Duration::from_millis(2500));
    assert_eq!(delivery.secrets.len(), 2);
    let policy = delivery.retry.policy(crate::RetryPolicy::default());
    assert_eq!(
        (policy.max_attempts, policy.base, policy.cap),
        (3, Duration::from_millis(500), Duration::from_secs(60))
    );
    assert_eq!(full.payload.unwrap().get(), "null");
    assert!(matches!(
        full.rule,
        Rule::Webhook {
            require_key: true,
            schema: Some(_)
        }
    ));
}

#[test]
fn a_payload_keeps_its_bytes() {
    let config =
        raw(r#"{"endpoint":"http://a","payload":{"z":1.10,"a":123456789012345678901234567890}}"#);
    let config = Config::parse(TriggerType::Webhook, &config).unwrap();
    assert_eq!(
        config.payload.unwrap().get(),
        r#"{"z":1.10,"a":123456789012345678901234567890}"#
    );
}

#[test]
fn a_job_takes_the_place_of_a_delivery() {
    let config = good(
        INTERVAL,
        &json!({"every": "1m", "job": {"type": "mail.send", "queue": "slow", "payload": [1]},
            "retry": {"max_attempts": 2}, "timeout_seconds": 30}),
    );
    let Action::Enqueue(job) = &config.action else {
        panic!("{config:?}");
    };
    assert_eq!(
        (job.kind.as_str(), job.queue.as_deref()),
        ("mail.send", Some("slow"))
    );
    assert_eq!(
        (job.max_attempts, job.timeout),
        (Some(2), Some(Duration::from_secs(30)))
    );
    assert_eq!(config.payload.unwrap().get(), "[1]");

    let wrong = json!({"every": "1m", "job": {"type": "no type", "quueue": "x", "payload": 1}, "payload": 2,
        "endpoint": "http://a", "secret": "s", "headers": {}, "http_method": "GET", "retry": {"cap_seconds": 5}});
    assert_eq!(
        faults(INTERVAL, &wrong),
        [
            "/endpoint",
            "/http_method",
            "/headers",
            "/secret",
            "/retry",
            "/job/type",
            "/payload",
            "/job/quueue"
        ]
    );
    assert_eq!(
        faults(INTERVAL, &json!({"every": "1m", "job": {}})),
        ["/job/type"]
    );
    assert_eq!(
        faults(INTERVAL, &json!({"every": "1m", "job": "x"})),
        ["/job"]
    );
}

#[test]
fn every_fault_is_named_at_its_place() {
    let wrong = json!({
        "endpoint": "ftp://x", "http_method": "post", "headers": {"Host": "x", "Good": "y"}, "retry": {"max_attempts": 0,
        "base_seconds": "5", "cap_seconds": -1, "more": 1}, "timeout_seconds": 61, "secret": ["", "whsec_x", 3],
        "schema": {"type": "objekt"}, "require_key": "yes", "cron": "* * * * *", "a/b": 1,
    });
    assert_eq!(
        faults(TriggerType::Webhook, &wrong),
        [
            "/endpoint",
            "/http_method",
            "/headers/Host",
            "/timeout_seconds",
            "/retry/max_attempts",
            "/retry/base_seconds",
            "/retry/cap_seconds",
            "/retry/more",
            "/secret/0",
            "/secret/1",
            "/secret/2",
            "/schema/type",
            "/require_key",
            "/a~1b",
            "/cron",
        ]
    );
    let problem = parse(
        TriggerType::Webhook,
        &json!({"endpoint": "http://a", "cron": "x"}),
    )
    .unwrap_err();
    assert!(
        problem
            .detail
            .contains("`cron` is no field of the config of a webhook trigger")
            && problem.detail.contains("schema, require_key, endpoint"),
        "{}",
        problem.detail
    );
}

#[test]
fn what_is_missing_is_named() {
    for (kind, pointers) in [
        (TriggerType::Webhook, vec!["/endpoint"]),
        (TIME, vec!["/endpoint", "/run_at"]),
        (CRON, vec!["/endpoint", "/cron"]),
        (INTERVAL, vec!["/endpoint", "/every"]),
        (TriggerType::Event, vec!["/endpoint", "/event_type"]),
    ] {
        assert_eq!(faults(kind, &json!({})), pointers, "{kind}");
    }
    // `null` is as good as missing, but for a payload.
    assert_eq!(
        faults(
            TIME,
            &json!({"endpoint": null, "run_at": null, "delay": null, "headers": null})
        ),
        ["/endpoint", "/run_at"]
    );
}

#[test]
fn what_is_no_object_or_too_large_is_refused() {
    for text in ["null", "[]", "\"x\"", "7"] {
        assert!(Config::parse(CRON, &raw(text)).is_err(), "{text}");
    }
    let problem = Config::parse(
        CRON,
        &raw(r#"{"cron":"* * * * *","cron":"0 * * * *","endpoint":"http://a"}"#),
    );
    assert_eq!(problem.unwrap_err().errors[0].pointer, "/cron");
    let problem = Config::parse(CRON, &raw(r#"{"payload":{"a":"\u0000"}}"#)).unwrap_err();
    assert_eq!(problem.errors[0].pointer, "/payload/a");
    let large = json!({"endpoint": "http://a", "payload": "x".repeat(MAX_PAYLOAD)});
    assert_eq!(faults(TriggerType::Webhook, &large), ["/payload"]);
    let larger = json!({"endpoint": "http://a", "payload": "x".repeat(MAX_CONFIG)});
    assert_eq!(faults(TriggerType::Webhook, &larger), [""]);
}

#[test]
fn a_payload_of_a_webhook_keeps_to_its_schema() {
    let schema = json!({"properties": {"n": {"type": "integer"}}});
    good(
        TriggerType::Webhook,
        &json!({"endpoint": "http://a", "schema": schema, "payload": {"n": 1}}),
    );
    assert_eq!(
        faults(
            TriggerType::Webhook,
            &json!({"endpoint": "http://a", "schema": schema, "payload": {"n": "x"}})
        ),
        ["/payload/n"]
    );
}

fn first(kind: TriggerType, mut config: serde_json::Value, saved_at: &str) -> Option<Time> {
    config["endpoint"] = json!("http://a");
    let saved_at = at(saved_at);
    let config = good(kind, &config);
    config.check_new(saved_at).unwrap();
    config.occurrences(saved_at).unwrap().next_after(saved_at)
}

#[test]
fn a_time_is_absolute_local_or_later() {
    let saved = "2026-01-01T00:00:00Z";
    for (config, time) in [
        (
            json!({"run_at": "2026-02-01T12:00:00+02:00"}),
            "2026-02-01T10:00:00Z",
        ),
        (
            json!({"run_at": "2026-02-01T12:00:00Z", "timezone": "Asia/Tokyo"}),
            "2026-02-01T12:00:00Z",
        ),
        (
            json!({"run_at": "2026-02-01T12:00:00", "timezone": "Asia/Tokyo"}),
            "2026-02-01T03:00:00Z",
        ),
        (
            json!({"run_at": "2026-03-29T02:30:00", "timezone": "Europe/Berlin"}),
            "2026-03-29T01:00:00Z",
        ),
        (
            json!({"run_at": "2026-10-25T02:30:00", "timezone": "Europe/Berlin"}),
            "2026-10-25T00:30:00Z",
        ),
        (json!({"delay": "10m"}), "2026-01-01T00:10:00Z"),
    ] {
        assert_eq!(
            first(TIME, config.clone(), saved),
            Some(at(time)),
            "{config}"
        );
    }
    for (config, pointers) in [
        (json!({"run_at": "2026-02-01T12:00:00"}), vec!["/run_at"]),
        (json!({"run_at": "tomorrow"}), vec!["/run_at"]),
        (json!({"run_at": 5}), vec!["/run_at"]),
        (
            json!({"run_at": "2026-02-01T12:00:00", "timezone": "Berlin"}),
            vec!["/timezone"],
        ),
        (
            json!({"run_at": "2026-02-01T12:00:00Z", "delay": "5s"}),
            vec!["/delay"],
        ),
        (json!({"delay": "5 minutes"}), vec!["/delay"]),
        (json!({"delay": "99999d"}), vec!["/delay"]),
    ] {
        let mut config = config;
        config["endpoint"] = json!("http://a");
        assert_eq!(faults(TIME, &config), pointers, "{config}");
    }
}

#[test]
fn an_interval_counts_from_its_start_or_from_when_it_was_saved() {
    let saved = "2026-01-01T00:00:00Z";
    assert_eq!(
        first(INTERVAL, json!({"every": "30m"}), saved),
        Some(at("2026-01-01T00:30:00Z"))
    );
    assert_eq!(
        first(
            INTERVAL,
            json!({"every": "30m", "starts_at": "2026-01-01T05:00:00Z"}),
            saved
        ),
        Some(at("2026-01-01T05:00:00Z"))
    );
    // A start that is past sets the grid.
    assert_eq!(
        first(
            INTERVAL,
            json!({"every": "30m", "starts_at": "2025-12-31T23:50:00Z"}),
            saved
        ),
        Some(at("2026-01-01T00:20:00Z"))
    );
    for every in ["999ms", "0s", "", "1w", "4000d"] {
        let config = json!({"endpoint": "http://a", "every": every});
        assert_eq!(faults(INTERVAL, &config), ["/every"], "{every}");
    }
    let local = json!({"endpoint": "http://a", "every": "1m", "starts_at": "2026-01-01T05:00:00"});
    assert_eq!(faults(INTERVAL, &local), ["/starts_at"]);
}

#[test]
fn a_cron_has_a_zone_bounds_and_a_policy() {
    let saved = "2026-01-01T00:00:00Z";
    assert_eq!(
        first(CRON, json!({"cron": "0 12 * * *"}), saved),
        Some(at("2026-01-01T12:00:00Z"))
    );
    let zoned = json!({"cron": "0 12 * * *", "timezone": "Europe/Berlin", "starts_at": "2026-07-01T00:00:00"});
    assert_eq!(first(CRON, zoned, saved), Some(at("2026-07-01T10:00:00Z")));
    let config = good(
        CRON,
        &json!({"endpoint": "http://a", "cron": "@daily", "misfire": "skip"}),
    );
    assert_eq!(config.misfire(), Misfire::Skip);
    let config = good(CRON, &json!({"endpoint": "http://a", "cron": "@daily"}));
    assert_eq!(config.misfire(), Misfire::FireOnce);
    for (config, pointers) in [
        (json!({"cron": "61 * * * *"}), vec!["/cron"]),
        (
            json!({"cron": "* * * * *", "timezone": "Nowhere"}),
            vec!["/timezone"],
        ),
        (
            json!({"cron": "* * * * *", "misfire": "never"}),
            vec!["/misfire"],
        ),
        (
            json!({"cron": "* * * * *", "starts_at": "2026-02-01T00:00:00Z", "ends_at": "2026-01-01T00:00:00Z"}),
            vec!["/ends_at"],
        ),
    ] {
        let mut config = config;
        config["endpoint"] = json!("http://a");
        assert_eq!(faults(CRON, &config), pointers, "{config}");
    }
}

#[test]
fn what_will_never_fire_is_not_saved_but_stays_readable() {
    let now = at("2026-06-01T00:00:00Z");
    for (kind, config, pointer) in [
        (TIME, json!({"run_at": "2026-05-31T23:59:59Z"}), "/run_at"),
        (CRON, json!({"cron": "0 0 30 2 *"}), "/cron"),
        (
            CRON,
            json!({"cron": "*/5 2 * 3 SUN#L", "timezone": "Europe/Berlin"}),
            "/cron",
        ),
        (
            CRON,
            json!({"cron": "0 0 1 1 *", "ends_at": "2026-12-31T00:00:00Z"}),
            "/ends_at",
        ),
        (
            CRON,
            json!({"cron": "* * * * *", "ends_at": "2026-05-01T00:00:00Z"}),
            "/ends_at",
        ),
    ] {
        let mut config = config;
        config["endpoint"] = json!("http://a");
        let problem = good(kind, &config)
            .check_new(now)
            .expect_err(&config.to_string());
        assert_eq!(problem.errors[0].pointer, pointer, "{config}");
    }
}

#[test]
fn an_event_trigger_has_a_type_and_a_filter() {
    let config = good(
        TriggerType::Event,
        &json!({"endpoint": "http://a", "event_type": "order.*", "filter": {"payload": {"amount": {"$gt": 5}}}}),
    );
    assert!(config.occurrences(Time::EPOCH).is_none());
    assert!(matches!(
        config.rule,
        Rule::Event {
            filter: Some(_),
            ..
        }
    ));
    let wrong = json!({"endpoint": "http://a", "event_type": "*.x", "filter": {"amount": 5, "payload": {"a": {"$x": 1}}}});
    assert_eq!(
        faults(TriggerType::Event, &wrong),
        ["/event_type", "/filter/amount", "/filter/payload/a/$x"]
    );
    assert_eq!(
        faults(
            TriggerType::Event,
            &json!({"endpoint": "http://a", "event_type": "x", "filter": []})
        ),
        ["/filter"]
    );
}

#[test]
fn a_config_does_not_show_its_secrets_in_logs() {
    let config = good(
        TriggerType::Webhook,
        &json!({"endpoint": "http://a/?token=hidden-1", "secret": "hidden-2", "headers": {"Authorization": "hidden-3"}}),
    );
    assert!(!format!("{config:?}").contains("hidden-"), "{config:?}");
}

proptest::proptest! {
    #[test]
    fn no_config_makes_it_panic(
        kind in proptest::sample::select(TriggerType::ALL.to_vec()),
        name in proptest::sample::select(["endpoint", "job", "headers", "secret", "retry", "schema", "run_at", "delay",
            "timezone", "cron", "every", "starts_at", "ends_at", "misfire", "filter", "event_type", "payload"].to_vec()),
        text in proptest::prop_oneof![".{0,20}", "[-0-9TZ:.+ ]{0,24}", "[0-9a-z*/ ,-]{0,16}"],
        shape in 0..4,
    ) {
        let value = match shape {
            0 => json!(text),
            1 => json!([text]),
            2 => json!({ &text: text }),
            _ => json!({ "type": { "$gte": text } }),
        };
        let mut config = json!({"endpoint": "http://a", "cron": "@daily", "every": "1m", "event_type": "x"});
        config[name] = value;
        let document = raw(&config.to_string());
        if let Ok(config) = Config::parse(kind, &document) {
            let _ = config.check_new(at("2026-06-01T00:00:00Z"));
        }
        let shown = mask(&document);
        let _ = unmask(&shown, Some(&document));
    }
}
