//! Archives as clients ask for them.

use std::io::Read as _;

use flate2::read::MultiGzDecoder;
use serde_json::{Value, json};
use tidewire_testkit::{Engine, eventually, every_engine};

use super::house::House;

impl House {
    /// The job at its end.
    async fn ended(&self, job: &Value) -> Value {
        let path = format!("/v1/jobs/{}", job["id"].as_str().unwrap());
        eventually("the job's end", async || {
            let job = self.app.get(&path).await.expect(200).json();
            matches!(job["status"].as_str(), Some("done" | "failed")).then_some(job)
        })
        .await
    }

    async fn bytes(&self, path: &str) -> (reqwest::header::HeaderMap, Vec<u8>) {
        let response = self.app.request(reqwest::Method::GET, path).send();
        let response = response.await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        let headers = response.headers().clone();
        (headers, response.bytes().await.unwrap().to_vec())
    }
}

fn lines(bytes: &[u8]) -> Vec<Value> {
    let mut text = String::new();
    MultiGzDecoder::new(bytes)
        .read_to_string(&mut text)
        .unwrap();
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[every_engine(multi_thread)]
async fn a_thread_is_archived_and_its_archive_is_what_was_said(engine: Engine) {
    let house = House::on(engine).await;
    house.works();
    house.say("t", 30).await;
    let shown = house.app.get("/v1/threads/t/events").await.expect(200);
    let shown = shown.json()["events"].clone();
    let path = "/v1/threads/t/archives";
    house
        .app
        .post("/v1/threads/none/archives", &json!({}))
        .await
        .expect(404);
    house
        .app
        .post(path, &json!({"from_seq": 5}))
        .await
        .expect(409);
    house
        .app
        .post(path, &json!({"to_seq": 31}))
        .await
        .expect(409);
    house
        .app
        .post(path, &json!({"to_seq": 0}))
        .await
        .expect(400);
    house.app.post(path, &json!({"until": 3})).await.expect(400);

    let first = house.app.post(path, &json!({"to_seq": 10})).await;
    let first = first.expect(200).json();
    assert_eq!(
        (&first["from_seq"], &first["to_seq"]),
        (&json!(1), &json!(10))
    );
    assert_eq!(first["thread_id"], "t");
    assert_eq!(first["event_count"], 10);
    assert_eq!(first["content_encoding"], "gzip");
    let again = house
        .app
        .post(path, &json!({"to_seq": 7}))
        .await
        .expect(200);
    assert_eq!(again.json(), first);
    let second = house.app.post(path, &json!({})).await.expect(200).json();
    assert_eq!(
        (&second["from_seq"], &second["to_seq"]),
        (&json!(11), &json!(30))
    );

    let page = house.app.get(path).await.expect(200).json();
    assert_eq!(
        page,
        json!({"archives": [second, first], "next_cursor": null})
    );
    let page = house
        .app
        .get(&format!("{path}?limit=1"))
        .await
        .expect(200)
        .json();
    assert_eq!(page["archives"], json!([second]));
    let next = page["next_cursor"].as_str().unwrap();
    let page = house
        .app
        .get(&format!("{path}?cursor={next}"))
        .await
        .expect(200);
    assert_eq!(
        page.json(),
        json!({"archives": [first], "next_cursor": null})
    );

    let mut said = Vec::new();
    for archive in [&first, &second] {
        let id = archive["archive_id"].as_str().unwrap();
        let (headers, bytes) = house.bytes(&format!("{path}/{id}")).await;
        assert_eq!(headers["content-type"], "application/gzip");
        assert_eq!(headers["content-length"], bytes.len().to_string());
        assert_eq!(archive["bytes"], bytes.len());
        let etag = format!("\"{}\"", archive["sha256"].as_str().unwrap());
        assert_eq!(headers["etag"], etag);
        assert!(!headers.contains_key("content-encoding"));
        let key = archive["object_key"].as_str().unwrap();
        assert_eq!(key, format!("threads/t/archives/{id}.jsonl.gz"));
        assert_eq!(std::fs::read(house.folder.path().join(key)).unwrap(), bytes);
        said.extend(lines(&bytes));
        let path = format!("/v1/archives/{id}");
        let known = house.app.request(reqwest::Method::GET, &path);
        let known = known.header("if-none-match", &etag).send().await.unwrap();
        assert_eq!(known.status(), 304);
        house
            .app
            .get(&format!("/v1/threads/u/archives/{id}"))
            .await
            .expect(404);
    }
    for line in &mut said {
        let log = line.as_object_mut().unwrap().remove("log").unwrap();
        assert!(log["pos"].is_u64() && log["id"].is_string(), "{log}");
    }
    assert_eq!(json!(said), shown);
    house
        .app
        .get("/v1/archives/01JZ8Q4V7R0000000000000001")
        .await
        .expect(404);
}

#[every_engine(multi_thread)]
async fn jobs_archive_trim_check_and_restore(engine: Engine) {
    let house = House::on(engine).await;
    house.works();
    house.append("orders", 60, 10).await;
    house.say("t", 5).await;
    let log = house.log().await;
    for (body, status) in [
        (json!({}), 400),
        (json!({"stream": "orders", "all": true}), 400),
        (json!({"stream": "orders", "older_than": "long"}), 400),
        (json!({"stream": "nothing"}), 404),
        (json!({"stream": "orders", "from_seq": 9}), 409),
        (json!({"all": true, "to_seq": 9}), 400),
    ] {
        house.app.post("/v1/archives", &body).await.expect(status);
    }
    let body = json!({"all": true, "trim": true});
    let job = house
        .app
        .post("/v1/archives", &body)
        .await
        .expect(202)
        .json();
    assert_eq!(job["type"], "archive.run");
    let job = house.ended(&job).await;
    let done = json!({"streams": 2, "archives": 3, "events": 65, "trimmed": 63});
    for (name, value) in done.as_object().unwrap() {
        assert_eq!(job["output"][name], *value, "{job}");
    }
    assert_eq!(job["progress"]["events_done"], 65);
    assert_eq!(house.log().await, log);

    let page = house
        .app
        .get("/v1/archives?limit=2")
        .await
        .expect(200)
        .json();
    assert_eq!(page["archives"].as_array().unwrap().len(), 2);
    let next = page["next_cursor"].as_str().unwrap();
    let page = house.app.get(&format!("/v1/archives?cursor={next}")).await;
    assert_eq!(
        page.expect(200).json()["archives"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let page = house
        .app
        .get("/v1/archives?stream=orders")
        .await
        .expect(200);
    let archive = page.json()["archives"][0].clone();
    assert_eq!(
        (&archive["from_seq"], &archive["thread_id"]),
        (&json!(41), &json!(null))
    );
    let id = archive["archive_id"].as_str().unwrap();
    let (headers, bytes) = house.bytes(&format!("/v1/archives/{id}")).await;
    assert_eq!(
        headers["content-disposition"],
        "attachment; filename=\"orders-41-60.jsonl.gz\""
    );
    let held = lines(&bytes);
    assert_eq!((held.len(), &held[0]["seq"]), (20, &json!(41)));
    assert!(held[0]["pos"].is_u64());

    let job = house.app.post("/v1/archives/verify", &json!({})).await;
    let job = house.ended(&job.expect(202).json()).await;
    assert_eq!(job["output"]["problems_found"], 0, "{job}");
    assert_eq!(job["output"]["archives"], 3);

    let body = json!({"stream": "orders", "from_seq": 21});
    let job = house.app.post("/v1/archives/restore", &body).await;
    let job = house.ended(&job.expect(202).json()).await;
    assert_eq!(job["output"]["events"], 39, "{job}");
    assert_eq!(house.first("orders").await, 21);
    assert_eq!(house.log().await, log);
    house
        .app
        .post("/v1/archives/restore", &json!({}))
        .await
        .expect(400);

    // Whoever makes such a job by hand is told what is wrong with it.
    let body = json!({"type": "archive.run", "payload": {"stream": "orders", "all": true}});
    let job = house.app.post("/v1/jobs", &body).await.expect(201).json();
    let job = house.ended(&job).await;
    assert_eq!(
        (&job["status"], &job["attempts"]),
        (&json!("failed"), &json!(1))
    );
}
