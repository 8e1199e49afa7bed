/** Reads what triggers fired from Kafka, each firing once. */
import { Kafka, logLevel } from "kafkajs";

const { KAFKA_BROKERS = "127.0.0.1:9092", GROUP = "billing", TOPIC = "trigger-events" } = process.env;
const kafka = new Kafka({ brokers: KAFKA_BROKERS.split(","), logLevel: logLevel.ERROR });
const consumer = kafka.consumer({ groupId: GROUP });
const seen = new Set<string>(); // in earnest: a column with a unique index, written with what the message leads to

process.once("SIGTERM", () => void consumer.disconnect());
await consumer.connect();
await consumer.subscribe({ topic: TOPIC, fromBeginning: true });
await consumer.run({
  // An offset is committed when this has returned.
  eachMessage: async ({ message }) => {
    const fired = JSON.parse(message.value?.toString() ?? "null");
    if (!seen.has(fired.event_id)) {
      seen.add(fired.event_id);
      console.log(`${fired.event_id} ${fired.type}: ${JSON.stringify(fired.payload)}`);
    }
  },
});
