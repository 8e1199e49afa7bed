/** Appends an event, follows it, and has a job done. */
import { setTimeout as sleep } from "node:timers/promises";

import { ApiError, followEvents, ok, Tidewire } from "tidewire";

const { TIDEWIRE_SERVER: url = "http://127.0.0.1:8080", TIDEWIRE_API_KEY: apiKey } = process.env;
const tidewire = new Tidewire({ url, ...(apiKey && { apiKey }) });
const { api } = tidewire;

const paid = { type: "order.paid", subject: "ann", dedupe_key: "order-17", payload: { amount: 12.5 } };
await ok(api.POST("/v1/events", { body: paid }));

for await (const event of followEvents(tidewire, { after: "0", type: "order.paid" })) {
  console.log(`${event.type} ${event.seq} of ${event.stream}: ${JSON.stringify(event.payload)}`);
  break;
}

const { id } = await ok(api.POST("/v1/jobs", { body: { type: "echo", payload: [1, 2, 3] } }));
let job;
do {
  await sleep(100);
  job = await ok(api.GET("/v1/jobs/{id}", { params: { path: { id } } }));
} while (job.status === "pending" || job.status === "running");
console.log(`${job.type} is ${job.status}: ${JSON.stringify(job.output)}`);

try {
  await ok(api.POST("/v1/events", { body: { type: "no spaces" } }));
} catch (error) {
  if (!(error instanceof ApiError)) throw error;
  console.log(error.status, error.problem.errors?.[0]?.pointer, error.problem.errors?.[0]?.detail);
}
