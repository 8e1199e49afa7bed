/**
 * The client of Tidewire, an event backbone in one binary.
 *
 * The operations are `Tidewire.api`, typed by what is generated from the API's description. Beside them stands what a
 * description cannot say: the connection and its repeats, live streams, a worker, and the receiver of deliveries.
 */
export type * from "./api.gen.js";
export { ok, Tidewire, type Settings } from "./client.js";
export { ApiError, UnexpectedAnswer } from "./errors.js";
export { followEvents, followThread, type EventsAfter, type ThreadAfter } from "./follow.js";
export type { Retry } from "./retry.js";
export { Receiver, WebhookVerificationError, type Delivery } from "./webhooks.js";
export { Failure, Release, Work, Worker, type Processor, type WorkerSettings } from "./worker.js";
