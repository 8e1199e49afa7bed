//! Bad input: always a 4xx problem that names the place, never a 5xx.

use axum::body::Body;
use http::{Method, header};
use proptest::prelude::*;

use crate::sample::{Answer, get, post, request, send, service};

async fn posted(body: impl Into<Vec<u8>>) -> (u16, String, String) {
    post(&service(), "/v1/events", body).await.problem()
}

#[tokio::test]
async fn a_good_body_passes_with_its_payload_as_it_was_written() {
    let body = r#"{"name":"a","payload":{"n": 1.10000000000000000000000000001, "k":[ ]}}"#;
    let answer = post(&service(), "/v1/events", body).await;
    assert_eq!(answer.status, 200);
    let text = String::from_utf8(answer.body).unwrap();
    assert!(
        text.contains(r#"{"n": 1.10000000000000000000000000001, "k":[ ]}"#),
        "{text}"
    );
}

#[tokio::test]
async fn malformed_json_names_line_and_column() {
    for body in [
        "{\n\"name\": \"a\"",
        "{\n\"name\": x}",
        "{\n} trailing",
        "[1,",
        "nul",
        "\u{feff}{}",
        "{\n\"a\0\":1}",
    ] {
        let (status, _, detail) = posted(body).await;
        assert_eq!(status, 400, "{body:?}");
        assert!(
            detail.contains("line ") && detail.contains("column "),
            "{body:?}: {detail}"
        );
    }
    let (status, _, detail) = posted(" \n").await;
    assert_eq!((status, detail.contains("empty")), (400, true), "{detail}");
}

#[tokio::test]
async fn wrong_types_and_unknown_fields_name_a_pointer() {
    for (body, pointer, word) in [
        (r#"{"name":1}"#, "/name", "expected a string"),
        (r#"{"name":"a","size":-1}"#, "/size", "-1"),
        (r#"{"name":"a","size":4294967296}"#, "/size", "4294967296"),
        (
            r#"{"name":"a","parts":[{"kind":"x"},{"kind":[]}]}"#,
            "/parts/1/kind",
            "sequence",
        ),
        (
            r#"{"name":"a","parts":[{"kind":"x","extra":1}]}"#,
            "/parts/0/extra",
            "unknown field `extra`",
        ),
        (r#"{"name":"a","a/b~c":1}"#, "/a~1b~0c", "unknown field"),
        (r#"{"name":"a","name":"b"}"#, "", "duplicate field `name`"),
        (r#"{"size":1}"#, "", "missing field `name`"),
        ("[]", "", "invalid type: sequence, expected an object"),
        (
            r#"["a",1,[],null]"#,
            "",
            "invalid type: sequence, expected an object",
        ),
        (
            r#"{"name":"a","parts":[{"kind":"x"},["x"]]}"#,
            "/parts/1",
            "invalid type: sequence, expected an object",
        ),
        ("7", "", "expected an object"),
        // The payload is kept as text, and places behind it are found all the same.
        (
            r#"{"payload":{"x":[1,{"y":null}]},"name":false}"#,
            "/name",
            "expected a string",
        ),
    ] {
        let (status, at, detail) = posted(body).await;
        assert_eq!((status, at.as_str()), (400, pointer), "{body}: {detail}");
        assert!(detail.contains(word), "{body}: {detail}");
        assert!(!detail.contains(" at line "), "{body}: {detail}");
    }
}

#[tokio::test]
async fn bytes_that_are_no_text_and_nul_characters_are_told() {
    for body in [
        &b"{\"name\":\"\xff\"}"[..],
        b"{\"name\":\"a\",\"payload\":\"\xc3\"}",
        b"\xff\xfe",
        b"{\"name\":\"\\ud800\"}",
    ] {
        assert_eq!(posted(body).await.0, 400, "{body:?}");
    }
    let (status, pointer, detail) = posted(r#"{"name":"a","payload":{"k":["\u0000"]}}"#).await;
    assert_eq!(
        (status, pointer.as_str()),
        (400, "/payload/k/0"),
        "{detail}"
    );
    assert!(detail.contains("NUL"), "{detail}");
    // An escaped backslash before `u0000` is no NUL.
    assert_eq!(
        post(&service(), "/v1/events", r#"{"name":"\\u0000"}"#)
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn deep_nesting_does_not_break_the_parser() {
    for depth in [200, 100_000] {
        let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let (status, _, _) = posted(deep.clone()).await;
        assert_eq!(status, 400);
        let (status, _, _) = posted(format!(r#"{{"parts":{deep}}}"#)).await;
        assert_eq!(status, 400);
    }
}

#[tokio::test]
async fn too_large_is_a_413_with_or_without_a_length() {
    let service = service();
    let big = vec![b' '; (8 << 20) + 1];
    assert_eq!(
        post(&service, "/v1/events", big.clone()).await.problem().0,
        413
    );
    let pieces: Vec<Result<_, std::io::Error>> = big
        .chunks(1 << 16)
        .map(|piece| Ok(piece.to_vec()))
        .collect();
    let stream = Body::from_stream(futures_util::stream::iter(pieces));
    let request =
        request(Method::POST, "/v1/events").header(header::CONTENT_TYPE, "application/json");
    assert_eq!(
        send(&service, request.body(stream).unwrap())
            .await
            .problem()
            .0,
        413
    );
    // A route's own limit.
    assert_eq!(
        post(&service, "/v1/small", r#"{"name":"1"}"#).await.status,
        200
    );
    assert_eq!(
        post(&service, "/v1/small", r#"{"name":"1234567"}"#)
            .await
            .problem()
            .0,
        413
    );
}

#[tokio::test]
async fn a_body_in_pieces_is_read_whole_and_a_broken_one_is_a_400() {
    let service = service();
    let ask = |body| {
        let request =
            request(Method::POST, "/v1/events").header(header::CONTENT_TYPE, "application/json");
        send(&service, request.body(body).unwrap())
    };
    let pieces = [r#"{"na"#, "", r#"me":"#, r#""x"}"#].map(Ok::<_, std::io::Error>);
    assert_eq!(
        ask(Body::from_stream(futures_util::stream::iter(pieces)))
            .await
            .status,
        200
    );
    let broken = [Ok("{"), Err(std::io::Error::other("gone"))];
    assert_eq!(
        ask(Body::from_stream(futures_util::stream::iter(broken)))
            .await
            .problem()
            .0,
        400
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_that_falls_silent_in_its_body_is_told() {
    let endless = Body::from_stream(futures_util::stream::pending::<
        Result<Vec<u8>, std::io::Error>,
    >());
    let request =
        request(Method::POST, "/v1/events").header(header::CONTENT_TYPE, "application/json");
    let (status, _, detail) = send(&service(), request.body(endless).unwrap())
        .await
        .problem();
    assert_eq!((status, detail.contains("30 s")), (400, true), "{detail}");
}

#[tokio::test]
async fn a_million_elements_stop_at_the_cap() {
    let service = service();
    let list = |n: usize| format!("[{}]", vec!["1"; n].join(","));
    assert_eq!(post(&service, "/v1/numbers", list(1000)).await.json(), 1000);
    let (status, _, detail) = post(&service, "/v1/numbers", list(1_000_000))
        .await
        .problem();
    assert_eq!(status, 400);
    assert!(detail.contains("more than 1000 elements"), "{detail}");
}

#[tokio::test]
async fn media_types_other_than_json_are_a_415() {
    let service = service();
    let ask = |content_type: Option<&str>| {
        let mut builder = request(Method::POST, "/v1/events");
        if let Some(content_type) = content_type {
            builder = builder.header(header::CONTENT_TYPE, content_type);
        }
        send(
            &service,
            builder.body(Body::from(r#"{"name":"a"}"#)).unwrap(),
        )
    };
    for good in [
        "application/json",
        "Application/JSON; charset=UTF-8",
        "application/json;x=y",
    ] {
        assert_eq!(ask(Some(good)).await.status, 200, "{good}");
    }
    for bad in [
        None,
        Some("text/plain"),
        Some("application/json; charset=latin1"),
        Some("application/jsonx"),
        Some(""),
    ] {
        let (status, _, detail) = ask(bad).await.problem();
        assert_eq!(
            (status, detail.contains("application/json")),
            (415, true),
            "{bad:?}: {detail}"
        );
    }
}

#[tokio::test]
async fn a_mistyped_query_names_the_parameter() {
    let service = service();
    assert_eq!(
        get(&service, "/v1/events?limit=5&name=%C3%A9+b")
            .await
            .json()["name"],
        "é b"
    );
    for (query, word) in [
        ("limit=x", "limit"),
        ("limit=300", "limit"),
        ("limit=1&limit=2", "limit"),
        ("limt=1", "limt"),
        ("=", ""),
    ] {
        let (status, at, detail) = get(&service, &format!("/v1/events?{query}"))
            .await
            .problem();
        assert_eq!((status, at.as_str()), (400, word), "{query}: {detail}");
    }
    for query in ["name=%zz", "name=%", "name=%ff", "name=a%00b"] {
        assert_eq!(
            get(&service, &format!("/v1/events?{query}"))
                .await
                .problem()
                .0,
            400,
            "{query}"
        );
    }
}

#[tokio::test]
async fn bad_paths_are_a_400() {
    let service = service();
    assert_eq!(get(&service, "/v1/events/a%2Fb").await.json(), "a/b");
    let unknown = get(&service, "/v1/events/%F0%9F%98%80").await;
    assert_eq!(unknown.status, 404, "no name has such a character");
    for path in ["/v1/events/%zz", "/v1/events/%ff", "/v1/events/a%00"] {
        assert_eq!(get(&service, path).await.problem().0, 400, "{path}");
    }
    for value in ["x", "-1"] {
        let (status, _, detail) = get(&service, &format!("/v1/number/{value}"))
            .await
            .problem();
        assert_eq!(status, 400);
        let said = format!("the path has `{value}`, which must be a whole number");
        assert!(detail.starts_with(&said), "{detail}");
    }
}

#[tokio::test]
async fn idempotency_keys_are_visible_ascii_and_not_too_long() {
    let service = service();
    let ask = |key: Vec<u8>| {
        let request = request(Method::GET, "/v1/whoami").header("idempotency-key", key);
        send(&service, request.body(Body::empty()).unwrap())
    };
    assert_eq!(ask(b"a-1".to_vec()).await.json()[2], "a-1");
    assert_eq!(ask(vec![b'x'; 255]).await.status, 200);
    for bad in [
        vec![b'x'; 256],
        b"".to_vec(),
        b"a b".to_vec(),
        "é".as_bytes().to_vec(),
    ] {
        let (status, at, _) = ask(bad.clone()).await.problem();
        assert_eq!((status, at.as_str()), (400, "Idempotency-Key"), "{bad:?}");
    }
}

fn documents() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    let key = prop_oneof![
        Just("name".to_owned()),
        Just("size".to_owned()),
        Just("parts".to_owned()),
        Just("kind".to_owned()),
        Just("payload".to_owned()),
        any::<String>(),
    ];
    leaf.prop_recursive(6, 48, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn ask<F: Future<Output = Answer>>(future: F) -> Answer {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
        .block_on(future)
}

fn is_orderly(answer: &Answer) -> bool {
    answer.status == 200 || answer.problem().0 < 500
}

proptest! {
    #[test]
    fn no_json_makes_a_5xx(document in documents()) {
        prop_assert!(is_orderly(&ask(post(&service(), "/v1/events", document.to_string()))));
    }

    #[test]
    fn no_bytes_make_a_5xx(bytes: Vec<u8>) {
        prop_assert!(is_orderly(&ask(post(&service(), "/v1/events", bytes))));
    }

    #[test]
    fn no_path_and_no_query_make_a_5xx(path in "[A-Za-z0-9%/._~:@!$&'()*+,;=-]{0,20}", query in "[a-z0-9%/._~:@!$&'()*+,;=?-]{0,30}") {
        let uri = format!("/v1/events/x{path}?{query}");
        let answer = ask(get(&service(), &uri));
        prop_assert!(is_orderly(&answer) || answer.status.is_redirection());
    }
}

#[test]
fn a_route_that_peeks_parses_by_itself() {
    use serde_json::value::RawValue;
    let raw = tidewire_http::parse::<Box<RawValue>>(b" {\"n\": 1.0} ").unwrap();
    assert_eq!(raw.get(), "{\"n\": 1.0}");
    let list = tidewire_http::parse::<Vec<Box<RawValue>>>(b"[[ ],2]").unwrap();
    assert_eq!(list[0].get(), "[ ]");
    assert_eq!(
        tidewire_http::parse::<Vec<u8>>(b"[1,300]")
            .unwrap_err()
            .errors[0]
            .pointer,
        "/1"
    );
}
