"""Reads what triggers fired from Kafka, each firing once."""

import json
import os

from confluent_kafka import Consumer

consumer = Consumer(
    {
        "bootstrap.servers": os.environ.get("KAFKA_BROKERS", "127.0.0.1:9092"),
        "group.id": os.environ.get("GROUP", "billing"),
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
    }
)
consumer.subscribe([os.environ.get("TOPIC", "trigger-events")])
seen: set[str] = set()  # in earnest: a column with a unique index, written with what the message leads to
try:
    while True:
        message = consumer.poll(1.0)
        if message is None or message.error():
            continue
        fired = json.loads(message.value())
        if fired["event_id"] not in seen:
            seen.add(fired["event_id"])
            print(f"{fired['event_id']} {fired['type']}: {fired['payload']}", flush=True)
        consumer.commit(message, asynchronous=False)
finally:
    consumer.close()
