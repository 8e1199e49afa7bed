//! Server-sent events.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, stream};
use http_body_util::BodyExt as _;
use tidewire_http::sse;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

#[test]
fn frames_are_as_the_standard_has_them() {
    let mut buffer = BytesMut::new();
    sse::frame(&mut buffer, Some("7"), Some("order.created"), b"{\"a\":1}");
    sse::frame(&mut buffer, None, None, b"[DONE]");
    // A pretty-printed payload; its lines are joined again by the reader.
    sse::frame(&mut buffer, Some("8"), None, b"{\r\n\"a\":\n1\r}");
    assert_eq!(
        buffer,
        "id: 7\nevent: order.created\ndata: {\"a\":1}\n\ndata: [DONE]\n\nid: 8\ndata: {\ndata: \"a\":\ndata: 1\ndata: }\n\n"
    );
}

#[tokio::test(start_paused = true)]
async fn silence_is_filled_and_talk_is_not() {
    let shutdown = CancellationToken::new();
    let talk = Bytes::from_static(b"data: x\n\n");
    // Frames after 10, 20 and 60 s.
    let (start, item) = (Instant::now(), talk.clone());
    let frames = stream::iter([10, 20, 60]).then(move |at| {
        let item = item.clone();
        async move {
            tokio::time::sleep_until(start + Duration::from_secs(at)).await;
            item
        }
    });
    let response = sse::response(frames, &shutdown);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(
        response.headers()["cache-control"],
        "no-cache, no-transform"
    );
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    let mut body = response.into_body();
    let mut seen = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.unwrap().into_data().unwrap();
        seen.push((start.elapsed().as_secs(), frame == talk));
        assert!(frame == talk || frame == ": keepalive\n\n");
    }
    assert_eq!(
        seen,
        [(10, true), (20, true), (35, false), (50, false), (60, true)]
    );
}

#[tokio::test]
async fn a_shutdown_ends_an_endless_stream() {
    let shutdown = CancellationToken::new();
    let mut body = sse::response(stream::pending(), &shutdown).into_body();
    let reader = tokio::spawn(async move { body.frame().await.is_none() });
    shutdown.cancel();
    assert!(reader.await.unwrap());
    // Also one that always has something to say.
    let endless = stream::repeat(Bytes::from_static(b":\n\n"));
    assert!(
        sse::response(endless, &shutdown)
            .into_body()
            .frame()
            .await
            .is_none()
    );
}
