//! The same with objects in a bucket, and what it is like when that is away.

use serde_json::json;
use tidewire_testkit::{Engine, every_engine, servers::S3};

use super::{
    house::{House, all_trimmed, only, small},
    reads::there_and_back,
};
use crate::{Error, ObjectsSettings};

async fn in_bucket(engine: Engine) -> Option<(House, S3)> {
    let s3 = S3::start().await?;
    let address = s3.address();
    let settings = ObjectsSettings {
        endpoint: Some(address.endpoint.clone()),
        access_key_id: Some(address.access_key_id.clone()),
        secret_access_key: Some(address.secret_access_key.clone()),
        ..ObjectsSettings::new(format!("s3://{}/tide", address.bucket))
    };
    let house = House::in_place(engine, small(), Some(settings)).await;
    Some((house, s3))
}

#[every_engine(sqlite)]
async fn nobody_can_tell_that_an_event_is_in_a_bucket(engine: Engine) {
    let Some((house, _s3)) = in_bucket(engine).await else {
        return;
    };
    there_and_back(&house).await;
    let archive = house
        .app
        .get("/v1/archives?limit=1")
        .await
        .expect(200)
        .json();
    let key = archive["archives"][0]["object_key"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(key.starts_with("tide/"), "{key}");
}

#[every_engine(sqlite)]
async fn while_the_bucket_is_away_the_database_goes_on(engine: Engine) {
    let Some((house, s3)) = in_bucket(engine).await else {
        return;
    };
    house.append("orders", 50, 10).await;
    let log = house.log().await;
    house.archive(all_trimmed()).await.unwrap();
    s3.kill().await;
    assert!(house.archives.objects().check().await.is_err());
    house.append("orders", 20, 10).await;
    let refused = house.archive(only("orders")).await.unwrap_err();
    assert!(matches!(refused, Error::Objects(_)), "{refused:?}");
    // What is in the database is read, what is cold cannot be had now.
    let path = "/v1/events?limit=15";
    house.app.get(path).await.expect(200);
    let refused = house.app.get("/v1/events?limit=40").await.expect(503);
    assert!(!refused.text.contains("127.0.0.1"), "{}", refused.text);
    let marks = house.archives.marks("default", "orders").await.unwrap();
    assert_eq!(marks.archived_until, 50);

    s3.start_again().await;
    assert_eq!(house.log().await[..50], log[..]);
    assert_eq!(house.archive(all_trimmed()).await.unwrap().events, 20);
    let body = json!({"stream": "orders"});
    house
        .app
        .post("/v1/archives/restore", &body)
        .await
        .expect(202);
    assert_eq!(house.verify(false).await.problems, []);
}
