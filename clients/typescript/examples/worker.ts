/** A worker: counts the words of texts, from the queue `texts`. */
import { Failure, Tidewire, Worker, type Work } from "tidewire";

function wordCount(work: Work) {
  const { text } = work.payload as { text?: unknown };
  if (typeof text !== "string") throw new Failure("the payload has no text", { permanent: true });
  return { words: text.split(/\s+/).filter(Boolean).length };
}

const { TIDEWIRE_SERVER: url = "http://127.0.0.1:8080", TIDEWIRE_API_KEY: apiKey } = process.env;
const tidewire = new Tidewire({ url, ...(apiKey && { apiKey }) });
const worker = new Worker(tidewire, { "word-count": wordCount }, { queues: ["texts"], concurrency: 8 });
process.once("SIGTERM", () => worker.stop());
await worker.run();
