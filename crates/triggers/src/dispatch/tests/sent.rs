//! What an endpoint receives.

use http::HeaderMap;
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use tidewire_testkit::{Engine, every_engine};

use super::{
    house::{House, SECRET, raw},
    sink::{Got, Sink, status},
};
use crate::{TriggerType, model::ExecutionStatus};

fn headers(got: &Got) -> HeaderMap {
    got.headers
        .iter()
        .map(|(name, value)| {
            let name = name.parse::<http::HeaderName>().unwrap();
            (name, value.parse().unwrap())
        })
        .collect()
}

#[every_engine]
async fn a_delivery_is_the_payload_with_the_headers_of_the_contract(engine: Engine) {
    let house = House::open(engine).await;
    let sink = Sink::always(status(204)).await;
    let working = house.work();
    let other = "whsec_CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=";
    let config = json!({
        "headers": {"authorization": "Bearer key", "X-Own": "yes"},
        "secret": [SECRET, other],
    });
    let trigger = house.trigger(&sink.url("/in?q=1"), config).await;
    let payload =
        json!({"text": "grün €", "n": 12_345_678_901_234_567_890_u64, "deep": [{"a": null}]});
    let fired = house.fire(&trigger, payload.clone()).await;
    let seen = house.ended(&fired).await;
    assert_eq!(seen.status, ExecutionStatus::Success);
    assert_eq!(seen.error, None);
    assert_eq!(seen.job_id, fired.job_id);

    let got = &sink.got()[0];
    assert_eq!(
        (got.method.as_str(), got.path.as_str()),
        ("POST", "/in?q=1")
    );
    let body: Value = serde_json::from_slice(&got.body).unwrap();
    assert_eq!(body, payload);
    for (name, value) in [
        ("host", sink.address.to_string().as_str()),
        ("content-type", "application/json"),
        (
            "user-agent",
            concat!("tidewire/", env!("CARGO_PKG_VERSION")),
        ),
        ("webhook-id", &fired.execution_id),
        ("x-tidewire-trigger", &trigger),
        ("x-tidewire-attempt", "1"),
        ("x-tidewire-depth", "1"),
        ("authorization", "Bearer key"),
        ("x-own", "yes"),
    ] {
        assert_eq!(got.header(name), value, "{name}");
    }
    for secret in [SECRET, other] {
        let receiver = Webhook::new(secret).unwrap();
        receiver.verify(&got.body, &headers(got)).unwrap();
        assert!(receiver.verify(b"{}", &headers(got)).is_err());
    }
    let attempt = &seen.attempts[0];
    assert_eq!((seen.attempts.len(), attempt.attempt), (1, 1));
    assert_eq!(
        (attempt.status, attempt.body.as_deref()),
        (Some(204), Some(""))
    );
    assert_eq!(attempt.error, None);
    assert!(attempt.duration_ms.is_some());
    assert!(attempt.started_at <= house.store.clock.now());
    working.stop().await;
}

#[every_engine(sqlite)]
async fn each_method_has_the_body_that_it_may_have(engine: Engine) {
    let house = House::open(engine).await;
    let sink = Sink::always(status(200)).await;
    let working = house.work();
    for (method, body) in [
        ("POST", r#"{"hello":"world"}"#),
        ("PUT", r#"{"hello":"world"}"#),
        ("PATCH", r#"{"hello":"world"}"#),
        ("GET", ""),
        ("DELETE", ""),
    ] {
        let config = json!({"http_method": method, "secret": SECRET});
        let seen = house.deliver(&sink.url("/"), config).await;
        assert_eq!(seen.status, ExecutionStatus::Success, "{method}");
        let got = sink.got().pop().unwrap();
        assert_eq!(got.method, method);
        assert_eq!(String::from_utf8_lossy(&got.body), body, "{method}");
        assert_eq!(got.headers.contains_key("content-type"), !body.is_empty());
        let receiver = Webhook::new(SECRET).unwrap();
        receiver.verify(&got.body, &headers(&got)).unwrap();
    }
    // What is configured stays, and what is not signed says nothing about it.
    let config = json!({"headers": {"Content-Type": "text/x-own", "user-agent": "me"}});
    house.deliver(&sink.url("/"), config).await;
    let got = sink.got().pop().unwrap();
    assert_eq!(got.header("content-type"), "text/x-own");
    assert_eq!(got.header("user-agent"), "me");
    assert!(!got.headers.contains_key("webhook-signature"));
    working.stop().await;
}

#[every_engine]
async fn test_runs_are_delivered_with_and_without_a_trigger(engine: Engine) {
    let house = House::open(engine).await;
    let sink = Sink::always(status(200)).await;
    let working = house.work();
    let trigger = house.trigger(&sink.url("/a"), json!({})).await;
    let fired = house
        .triggers
        .test(&house.tenant, &trigger, Some(raw(&json!([1]))), 3)
        .await
        .unwrap();
    assert_eq!(house.ended(&fired).await.status, ExecutionStatus::Success);
    let got = sink.got().pop().unwrap();
    assert_eq!(got.header("x-tidewire-trigger"), trigger);
    assert_eq!(got.header("x-tidewire-depth"), "4");
    assert_eq!(got.body, b"[1]");

    let config = raw(&json!({"endpoint": sink.url("/b"), "payload": {"p": 1}}));
    let fired = house
        .triggers
        .test_config(&house.tenant, TriggerType::Webhook, config, None, 0)
        .await
        .unwrap();
    assert_eq!(house.ended(&fired).await.status, ExecutionStatus::Success);
    let got = sink.got().pop().unwrap();
    assert_eq!(got.path, "/b");
    assert!(!got.headers.contains_key("x-tidewire-trigger"));
    assert_eq!(got.header("webhook-id"), fired.execution_id);
    working.stop().await;
}

#[every_engine]
async fn what_was_sent_can_be_looked_into_afterwards(engine: Engine) {
    let house = House::open(engine).await;
    let sink = Sink::always(status(204)).await;
    let working = house.work();
    let config = json!({
        "headers": {"authorization": "Bearer abcdefghijklmnop", "X-Own": "yes"},
        "secret": SECRET,
    });
    let trigger = house.trigger(&sink.url("/in?q=1"), config).await;
    let fired = house.fire(&trigger, json!({"n": 1})).await;
    house.ended(&fired).await;
    let execution = house.triggers.execution(&house.tenant, &fired.execution_id);
    let execution = execution.await.unwrap();
    let sent = house.triggers.sent(&execution).await.unwrap().unwrap();
    let got = &sink.got()[0];
    assert_eq!(sent.method, got.method.as_str());
    assert_eq!(sent.url, sink.url("/in?q=1"));
    assert_eq!(sent.body.unwrap().get().as_bytes(), got.body);
    for (name, value) in &sent.headers {
        match name.as_str() {
            "authorization" => assert!(!value.contains("abcdefgh"), "{value}"),
            _ => assert_eq!(got.header(name), value, "{name}"),
        }
    }
    // Enough to compare with what the endpoint got, and too little to send it again.
    let [signed] = sent.signed.as_slice() else {
        panic!("one attempt is signed once: {:?}", sent.signed)
    };
    assert_eq!(
        signed.timestamp.to_string(),
        got.header("webhook-timestamp")
    );
    let beginning = signed.signature.strip_suffix('…').unwrap();
    let whole = got.header("webhook-signature");
    assert!(whole.starts_with(beginning) && beginning.len() < whole.len() / 2);
    working.stop().await;
}
