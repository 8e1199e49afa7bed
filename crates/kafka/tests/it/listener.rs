//! Somebody who is not Tidewire and hears what is published: a client of its own.

use std::time::{Duration, Instant};

use rdkafka::{
    ClientConfig, Message as _,
    consumer::{BaseConsumer, Consumer as _},
    message::Headers as _,
};
use serde_json::Value;
use tidewire_kafka::KafkaSettings;

#[derive(Clone, Debug)]
pub struct Heard {
    pub key: String,
    pub text: String,
    pub value: Value,
    pub header: Option<(String, String)>,
}

/// The first `count` messages of a topic, in the order of each partition.
pub async fn hear(settings: &KafkaSettings, topic: &str, count: usize) -> Vec<Heard> {
    let (brokers, topic) = (settings.brokers.clone(), topic.to_owned());
    tokio::task::spawn_blocking(move || listen(&brokers, &topic, count))
        .await
        .unwrap()
}

fn listen(brokers: &str, topic: &str, count: usize) -> Vec<Heard> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", format!("{topic}-listener"))
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    consumer.subscribe(&[topic]).unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut heard = Vec::new();
    while heard.len() < count {
        assert!(
            Instant::now() < deadline,
            "heard {} of {count}: {heard:?}",
            heard.len()
        );
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else {
            continue;
        };
        let text = String::from_utf8(message.payload().unwrap().to_vec()).unwrap();
        let header = message.headers().map(|headers| {
            let header = headers.get(0);
            let value = header.value.unwrap_or_default().to_vec();
            (header.key.to_owned(), String::from_utf8(value).unwrap())
        });
        heard.push(Heard {
            key: String::from_utf8(message.key().unwrap().to_vec()).unwrap(),
            value: serde_json::from_str(&text).unwrap(),
            text,
            header,
        });
    }
    heard
}
