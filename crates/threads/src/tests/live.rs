//! Following a thread live.

use futures_util::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};
use tidewire_testkit::{Engine, every_engine};

use super::{
    House,
    house::{delta, ending},
};

/// An open stream of frames.
struct Frames {
    bytes: futures_util::stream::BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    text: String,
}

/// One frame: its id, its type and its data.
#[derive(Debug, PartialEq)]
struct Frame(String, String, String);

impl Frames {
    async fn open(house: &House, query: &str, last: Option<&str>) -> Self {
        let path = format!("/v1/threads/t/events/stream{query}");
        let mut request = house.app.request(Method::GET, &path);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        Frames {
            bytes: response.bytes_stream().boxed(),
            text: String::new(),
        }
    }

    /// The next frame; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let frame: String = self.text.drain(..end + 2).collect();
                let field = |name: &str| {
                    let mut lines = frame.lines();
                    let line = lines.find_map(|line| line.strip_prefix(&format!("{name}: ")));
                    line.unwrap_or_default().to_owned()
                };
                if frame.starts_with(':') {
                    continue;
                }
                return Some(Frame(field("id"), field("event"), field("data")));
            }
            let bytes = self.bytes.next().await?.unwrap();
            self.text += std::str::from_utf8(&bytes).unwrap();
        }
    }

    /// So many frames' ids; each must say the same as the event in it.
    async fn ids(&mut self, count: usize) -> Vec<u64> {
        let mut ids = Vec::new();
        for _ in 0..count {
            let Frame(id, kind, data) = self.next().await.expect("the stream goes on");
            let event: Value = serde_json::from_str(&data).unwrap();
            assert_eq!(event["seq"].to_string(), id);
            assert_eq!(event["type"], kind.as_str());
            assert_eq!(event["spec_version"], "agent-events/1.0");
            ids.push(id.parse().unwrap());
        }
        ids
    }

    /// All ids up to the end of the stream, which must be said.
    async fn rest(&mut self) -> Vec<u64> {
        let mut ids = Vec::new();
        let mut done = false;
        while let Some(Frame(id, _, data)) = self.next().await {
            assert!(!done, "nothing comes behind the end");
            done = data == "[DONE]";
            if !done {
                ids.push(id.parse().unwrap());
            }
        }
        assert!(done, "the end is said");
        ids
    }
}

#[every_engine]
async fn history_goes_on_live_without_a_gap_or_a_repeat(engine: Engine) {
    let house = House::on(engine).await;
    house.ask("t", "a").await.expect(202);
    for n in 0..600 {
        let text = n.to_string();
        let more = json!([delta("a", &text), json!({"type": "custom"})]);
        house.says("t", more).await.expect(201);
    }
    let mut whole = Frames::open(&house, "", None).await;
    assert_eq!(whole.ids(1201).await, (1..=1201).collect::<Vec<_>>());
    // A turn that ends closes nobody's stream of the thread.
    house.says("t", ending("a", "completed")).await.expect(201);
    house.ask("t", "b").await.expect(202);
    assert_eq!(whole.ids(2).await, [1202, 1203]);
    // Who comes back goes on where they were; the header goes before the query.
    let mut back = Frames::open(&house, "?after_seq=3", Some("1201")).await;
    assert_eq!(back.ids(2).await, [1202, 1203]);
    for n in 0..50 {
        house
            .says("t", delta("b", &n.to_string()))
            .await
            .expect(201);
    }
    let live: Vec<_> = (1204..=1253).collect();
    assert_eq!(whole.ids(50).await, live);
    assert_eq!(back.ids(50).await, live);
}

#[every_engine]
async fn the_stream_of_a_turn_ends_with_it(engine: Engine) {
    let house = House::on(engine).await;
    for turn in ["a", "b"] {
        house.ask("t", turn).await.expect(202);
    }
    let mut of_b = Frames::open(&house, "?turn_id=b", None).await;
    assert_eq!(of_b.ids(1).await, [2]);
    let all = json!([
        delta("a", "1"),
        delta("b", "2"),
        delta("a", "3"),
        ending("a", "completed")
    ]);
    house.says("t", all).await.expect(201);
    assert_eq!(of_b.ids(1).await, [4]);
    let all = json!([
        delta("b", "4"),
        ending("b", "failed"),
        json!({"type": "custom"})
    ]);
    house.says("t", all).await.expect(201);
    assert_eq!(of_b.rest().await, [7, 8]);
    // History alone, and what comes late is not of it.
    house.says("t", delta("a", "late")).await.expect(201);
    let mut of_a = Frames::open(&house, "?turn_id=a", None).await;
    assert_eq!(of_a.rest().await, [1, 3, 5, 6]);
    // Who has seen the end, and lost the connection before it was said.
    let mut of_a = Frames::open(&house, "?turn_id=a", Some("6")).await;
    assert_eq!(of_a.rest().await, [6]);
}

#[every_engine(sqlite)]
async fn a_place_that_is_not_there_is_refused(engine: Engine) {
    let house = House::on(engine).await;
    house.ask("t", "a").await.expect(202);
    let get = async |path: &str, status: u16| {
        let path = format!("/v1/threads/{path}");
        house.app.get(&path).await.expect(status).text
    };
    let beyond = get("t/events/stream?after_seq=2", 400).await;
    assert!(beyond.contains("ends at 1"), "{beyond}");
    get("t/events/stream?after_seq=-1", 400).await;
    get("t/events/stream?turn_id=unknown", 404).await;
    get("unknown/events/stream", 404).await;
    get("t/events/stream?afterseq=1", 400).await;
}
