use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}

fn filter(text: &str) -> Filter {
    Filter::parse(&raw(text)).unwrap_or_else(|problem| panic!("{text}: {problem}"))
}

fn matches(filter_text: &str, payload: &str) -> bool {
    let payload = raw(payload);
    filter(filter_text).matches(&event(&payload))
}

fn event(payload: &RawValue) -> Facts<'_> {
    Facts {
        id: "01JZ8Q4V7R0000000000000001",
        stream: "orders",
        seq: 42,
        kind: "order.created",
        subject: Some("user-7"),
        source: None,
        dedupe_key: None,
        occurred_at: "2026-01-01T12:00:00.5Z".parse().unwrap(),
        created_at: "2026-01-01T12:00:01Z".parse().unwrap(),
        payload,
    }
}

#[test]
fn conditions_on_the_payload() {
    let payload = r#"{"amount":100.50,"big":9007199254740993,"status":"paid","tags":["a","b"],"none":null,
        "user":{"name":"Zoë","age":30,"address":{"city":"Ulm"}},"ok":true,"$odd":1,"a/b":1}"#;
    for (condition, expected) in [
        ("{}", true),
        (r#"{"status":"paid"}"#, true),
        (r#"{"status":"open"}"#, false),
        (r#"{"status":"paid","ok":false}"#, false),
        // Numbers by value, with all their digits.
        (r#"{"amount":100.5}"#, true),
        (r#"{"amount":1.005e2}"#, true),
        (r#"{"amount":"100.5"}"#, false),
        (r#"{"big":9007199254740993}"#, true),
        (r#"{"big":9007199254740992}"#, false),
        (r#"{"big":{"$gt":9007199254740992}}"#, true),
        (r#"{"amount":{"$gte":100.5,"$lt":101}}"#, true),
        (r#"{"amount":{"$gt":100.5}}"#, false),
        (r#"{"amount":{"$lte":100.49999999999999999999999}}"#, false),
        // Strings by code points; a number and a string do not compare.
        (r#"{"status":{"$gte":"open","$lt":"q"}}"#, true),
        (r#"{"status":{"$gt":1}}"#, false),
        (r#"{"amount":{"$lt":"zzz"}}"#, false),
        (r#"{"user":{"name":{"$gt":"Zoz"}}}"#, true),
        (r#"{"user":{"name":"Zo\u00eb"}}"#, true),
        (r#"{"status":{"$prefix":"pa"}}"#, true),
        (r#"{"status":{"$prefix":""}}"#, true),
        (r#"{"amount":{"$prefix":"1"}}"#, false),
        (r#"{"status":{"$in":["open","paid"]}}"#, true),
        (r#"{"amount":{"$in":[1,100.500]}}"#, true),
        (r#"{"amount":{"$in":["100.5"]}}"#, false),
        // Nested objects descend; other members do not matter.
        (r#"{"user":{"age":{"$gte":18}}}"#, true),
        (r#"{"user":{"address":{"city":"Ulm"}}}"#, true),
        (r#"{"user":{"address":{"city":"Ulm","zip":1}}}"#, false),
        (r#"{"user":{}}"#, true),
        // Arrays are values: as a whole or not at all.
        (r#"{"tags":["a","b"]}"#, true),
        (r#"{"tags":["b","a"]}"#, false),
        (r#"{"tags":"a"}"#, false),
        (r#"{"tags":{"$in":[["x"],["a","b"]]}}"#, true),
        (
            r#"{"user":{"$in":[{"age":3e1,"address":{"city":"Ulm"},"name":"Zoë"}]}}"#,
            true,
        ),
        (r#"{"tags":{"0":"a"}}"#, false),
        // Missing is not null.
        (r#"{"none":null}"#, true),
        (r#"{"missing":null}"#, false),
        (r#"{"none":{"$exists":true}}"#, true),
        (r#"{"missing":{"$exists":false}}"#, true),
        (r#"{"missing":{"$exists":true}}"#, false),
        (r#"{"status":{"deeper":{"$exists":false}}}"#, true),
        (
            r#"{"missing":{"deeper":{"deepest":{"$exists":false}}}}"#,
            true,
        ),
        (r#"{"missing":{"$gte":0}}"#, false),
        (r#"{"missing":{"$not":{"$gte":0}}}"#, true),
        (r#"{"missing":{"$in":[null]}}"#, false),
        // Negation and choice, at any depth.
        (r#"{"status":{"$not":"open"}}"#, true),
        (r#"{"status":{"$not":{"$prefix":"pa"}}}"#, false),
        (r#"{"$not":{"status":"paid"}}"#, false),
        (
            r#"{"$or":[{"status":"open"},{"amount":{"$gt":100}}]}"#,
            true,
        ),
        (
            r#"{"$or":[{"status":"open"},{"amount":{"$gt":101}}]}"#,
            false,
        ),
        (r#"{"status":{"$or":["open",{"$prefix":"pai"}]}}"#, true),
        (r#"{"amount":{"$or":[{"$lt":10},{"$gt":100}]}}"#, true),
        (
            r#"{"$not":{"$or":[{"status":"open"},{"ok":false}]},"ok":true}"#,
            true,
        ),
        (r#"{"a/b":1}"#, true),
    ] {
        let text = format!(r#"{{"payload":{condition}}}"#);
        assert_eq!(matches(&text, payload), expected, "{condition}");
    }
}

#[test]
fn conditions_on_the_event_itself() {
    for (text, expected) in [
        (r"{}", true),
        (r#"{"subject":"user-7","stream":"orders"}"#, true),
        (r#"{"seq":{"$gte":42}}"#, true),
        (r#"{"seq":42.0}"#, true),
        (r#"{"type":{"$prefix":"order."}}"#, true),
        (r#"{"source":null}"#, true),
        (r#"{"source":{"$exists":true}}"#, true),
        (r#"{"subject":{"$not":null}}"#, true),
        (
            r#"{"$or":[{"subject":"user-8"},{"dedupe_key":null}]}"#,
            true,
        ),
        // Times compare as times, whatever their offset and digits.
        (
            r#"{"occurred_at":{"$gte":"2026-01-01T13:00:00+01:00"}}"#,
            true,
        ),
        (r#"{"occurred_at":{"$gt":"2026-01-01T12:00:00.5Z"}}"#, false),
        (r#"{"occurred_at":"2026-01-01T14:00:00.500+02:00"}"#, true),
        (
            r#"{"created_at":{"$in":["2026-01-01T12:00:01.000Z"]}}"#,
            true,
        ),
        (
            r#"{"created_at":{"$not":{"$lt":"2026-01-01T12:00:01Z"}}}"#,
            true,
        ),
        (r#"{"payload":7}"#, true),
        (r#"{"payload":{"$gt":6.99}}"#, true),
        (r#"{"payload":{"a":1}}"#, false),
    ] {
        assert_eq!(matches(text, "7"), expected, "{text}");
    }
}

#[test]
fn the_example_of_the_documentation_is_a_filter() {
    let page = include_str!("../../../../docs/triggers.md");
    let (_, example) = page.split_once("```json\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let example = filter(example);
    for (payload, expected) in [
        (
            r#"{"amount":100,"customer":{"country":"AT"},"express":true,"items":[]}"#,
            true,
        ),
        (r#"{"amount":999.99,"customer":{"country":"DE"}}"#, true),
        (
            r#"{"amount":999.99,"customer":{"country":"DE"},"items":[]}"#,
            false,
        ),
        (r#"{"amount":1000,"customer":{"country":"DE"}}"#, false),
    ] {
        let payload = raw(payload);
        assert_eq!(example.matches(&event(&payload)), expected, "{payload}");
    }
}

#[test]
fn a_wrong_filter_is_refused_at_its_place() {
    for (text, pointer, what) in [
        ("[]", "", "must be an object"),
        ("\"x\"", "", "must be an object"),
        (r#"{"amount":1}"#, "/amount", "below `payload`"),
        (
            r#"{"payload":{"a":{"$gte":true}}}"#,
            "/payload/a/$gte",
            "a number or a string, it is a boolean",
        ),
        (
            r#"{"payload":{"a":{"$in":"x"}}}"#,
            "/payload/a/$in",
            "must be an array",
        ),
        (
            r#"{"payload":{"a":{"$in":[]}}}"#,
            "/payload/a/$in",
            "is empty",
        ),
        (r#"{"$or":[]}"#, "/$or", "is empty"),
        (r#"{"$or":[1]}"#, "/$or/0", "must be an object"),
        (r#"{"$or":{"a":1}}"#, "/$or", "must be an array"),
        (r#"{"$not":3}"#, "/$not", "must be an object"),
        (
            r#"{"payload":{"a":{"$exists":1}}}"#,
            "/payload/a/$exists",
            "true or false",
        ),
        (
            r#"{"payload":{"a":{"$prefix":1}}}"#,
            "/payload/a/$prefix",
            "must be a string",
        ),
        (
            r#"{"payload":{"a/b":{"$regex":"x"}}}"#,
            "/payload/a~1b/$regex",
            "`$regex` is no operator",
        ),
        (r#"{"$gte":1}"#, "/$gte", "asked of a field"),
        (r#"{"type":"a","type":"b"}"#, "/type", "twice"),
        (
            r#"{"created_at":{"$gt":"yesterday"}}"#,
            "/created_at/$gt",
            "RFC 3339",
        ),
        (r#"{"created_at":{"$gt":5}}"#, "/created_at/$gt", "RFC 3339"),
        (
            r#"{"created_at":{"$or":["x"]}}"#,
            "/created_at/$or/0",
            "RFC 3339",
        ),
    ] {
        let problem = Filter::parse(&raw(text)).expect_err(text);
        let [error] = problem.errors.as_slice() else {
            panic!("{text}: {problem:?}");
        };
        assert_eq!(error.pointer, pointer, "{text}");
        assert!(error.detail.contains(what), "{text}: {}", error.detail);
    }
    let many = r#"{"x":1,"payload":{"a":{"$foo":1,"$gt":null}}}"#;
    assert_eq!(Filter::parse(&raw(many)).unwrap_err().errors.len(), 3);
    let long = format!(r#"{{"payload":{{"$in":[{}1]}}}}"#, "1,".repeat(1000));
    assert!(
        Filter::parse(&raw(&long))
            .unwrap_err()
            .detail
            .contains("1000")
    );
    let deep = format!("{}1{}", r#"{"payload":"#, "}").replace(
        '1',
        &format!("{}1{}", r#"{"a":"#.repeat(100), "}".repeat(100)),
    );
    assert!(
        Filter::parse(&raw(&deep))
            .unwrap_err()
            .detail
            .contains("deeper")
    );
}

fn documents() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        (-3i64..4).prop_map(Json::from),
        "[a-c]{0,2}".prop_map(Json::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Json::from),
            prop::collection::hash_map("[xyz]", inner, 0..3)
                .prop_map(|map| Json::Object(map.into_iter().collect())),
        ]
    })
}

fn conditions() -> impl Strategy<Value = Json> {
    let scalar = prop_oneof![
        (-3i64..4).prop_map(Json::from),
        "[a-c]{0,2}".prop_map(Json::from)
    ];
    let operator = prop_oneof![
        (
            prop::sample::select(vec!["$gte", "$gt", "$lte", "$lt"]),
            scalar
        )
            .prop_map(|(name, bound)| json!({ name: bound })),
        prop::collection::vec(documents(), 1..3).prop_map(|list| json!({"$in": list})),
        any::<bool>().prop_map(|wanted| json!({"$exists": wanted})),
        "[a-c]{0,2}".prop_map(|text| json!({"$prefix": text})),
        documents().prop_filter("an object descends", |value| !value.is_object()),
    ];
    operator.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            inner
                .clone()
                .prop_map(|condition| json!({"$not": condition})),
            prop::collection::vec(inner.clone(), 1..3).prop_map(|any| json!({"$or": any})),
            prop::collection::hash_map("[xyz]", inner, 0..3)
                .prop_map(|map| Json::Object(map.into_iter().collect())),
        ]
    })
}

/// The same language said again, over a tree, for small whole numbers.
fn judge(condition: &Json, value: Option<&Json>) -> bool {
    let Json::Object(entries) = condition else {
        return value == Some(condition);
    };
    let order = |bound: &Json| match (value?, bound) {
        (Json::Number(left), Json::Number(right)) => left.as_i64().partial_cmp(&right.as_i64()),
        (Json::String(left), Json::String(right)) => left.chars().partial_cmp(right.chars()),
        _ => None,
    };
    entries.iter().all(|(name, operand)| match name.as_str() {
        "$not" => !judge(operand, value),
        "$or" => operand.as_array().unwrap().iter().any(|c| judge(c, value)),
        "$in" => operand.as_array().unwrap().iter().any(|l| value == Some(l)),
        "$exists" => operand.as_bool().unwrap() == value.is_some(),
        "$prefix" => value
            .and_then(Json::as_str)
            .is_some_and(|text| text.starts_with(operand.as_str().unwrap())),
        "$gte" => order(operand).is_some_and(Ordering::is_ge),
        "$gt" => order(operand).is_some_and(Ordering::is_gt),
        "$lte" => order(operand).is_some_and(Ordering::is_le),
        "$lt" => order(operand).is_some_and(Ordering::is_lt),
        name => judge(operand, value.and_then(|value| value.get(name))),
    })
}

fn asks(condition: &Json, document: &Json) -> bool {
    matches(
        &json!({ "payload": condition }).to_string(),
        &document.to_string(),
    )
}

proptest! {
    #[test]
    fn a_condition_means_what_the_judge_says(condition in conditions(), document in documents()) {
        prop_assert_eq!(asks(&condition, &document), judge(&condition, Some(&document)));
    }

    #[test]
    fn de_morgan_holds(a in conditions(), b in conditions(), document in documents()) {
        let neither = asks(&json!({"$not": {"$or": [a, b]}}), &document);
        prop_assert_eq!(neither, !asks(&a, &document) && !asks(&b, &document));
        let both = asks(&json!({"$not": {"$or": [{"$not": a}, {"$not": b}]}}), &document);
        prop_assert_eq!(both, asks(&a, &document) && asks(&b, &document));
    }

    #[test]
    fn no_filter_makes_it_panic(
        condition in documents(),
        name in prop::sample::select(vec!["$gte", "$in", "$or", "$not", "$exists", "$prefix", "$", "payload", "seq"]),
        document in documents(),
    ) {
        let text = json!({ name: condition, "payload": { name: condition } }).to_string();
        if let Ok(filter) = Filter::parse(&raw(&text)) {
            let payload = raw(&document.to_string());
            let _ = filter.matches(&event(&payload));
        }
    }
}
