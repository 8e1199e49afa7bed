import { setTimeout as sleep } from "node:timers/promises";

import { EventSourceParserStream, type EventSourceMessage } from "eventsource-parser/stream";

import type { Event, ThreadEvent } from "./api.gen.js";
import { ok, type Tidewire } from "./client.js";
import { errorOf, retryAfter } from "./errors.js";
import { backoff } from "./retry.js";
import { either } from "./signals.js";

// The server breaks its silence every 15 s: after three times of that the connection is dead.
const SILENCE = 50_000;
// What comes of restarts, proxies and full servers; anything else is a refusal.
const PASSING = [408, 429, 500, 502, 503, 504];

export interface EventsAfter {
  /** An event's id, or `0` for the log's start; from now on if it is missing. */
  after?: string;
  type?: string;
  stream?: string;
  /** Ends it, as `break` does. */
  signal?: AbortSignal;
}

export interface ThreadAfter {
  /** From behind this number; from the thread's start if it is missing. */
  afterSeq?: number;
  /** Only this turn: it ends with it. */
  turnId?: string;
  signal?: AbortSignal;
}

/**
 * Follow the log: what it has after an event's id, then what comes, for ever. A stream that breaks off goes on by itself:
 * nothing is skipped and nothing comes twice. To go on in another process, keep the `id` of the last event that was dealt
 * with, and give it as `after`.
 */
export async function* followEvents(tidewire: Tidewire, from: EventsAfter = {}): AsyncGenerator<Event, void> {
  const { type, stream } = from;
  // "From now" is made a place at once: a connection that broke before its first event would lose some otherwise.
  const after = from.after ?? (await newest(tidewire));
  const query = { after, ...(type !== undefined && { type }), ...(stream !== undefined && { stream }) };
  const open: Open = (header, signal) =>
    tidewire.api.GET("/v1/events/tail", { params: { query, header }, parseAs: "stream", signal });
  for await (const frame of frames(tidewire, open, from.signal)) yield JSON.parse(frame.data) as Event;
}

/** Follow a thread: what it has after a number, then what comes. With `turnId` it ends with that turn. */
export async function* followThread(
  tidewire: Tidewire,
  threadId: string,
  from: ThreadAfter = {},
): AsyncGenerator<ThreadEvent, void> {
  const query = { after_seq: from.afterSeq ?? 0, ...(from.turnId !== undefined && { turn_id: from.turnId }) };
  const open: Open = (header, signal) =>
    tidewire.api.GET("/v1/threads/{id}/events/stream", {
      params: { path: { id: threadId }, query, header },
      parseAs: "stream",
      signal,
    });
  for await (const frame of frames(tidewire, open, from.signal)) {
    if (frame.data === "[DONE]") return;
    yield JSON.parse(frame.data) as ThreadEvent;
  }
}

async function newest(tidewire: Tidewire): Promise<string> {
  const page = await ok(tidewire.api.GET("/v1/events", { params: { query: { limit: 1 } } }));
  return page.events[0]?.id ?? "0";
}

type Opened = { data?: ReadableStream<Uint8Array> | null; error?: unknown; response: Response };
type Open = (header: { "Last-Event-ID"?: string }, signal: AbortSignal) => Promise<Opened>;

async function* frames(tidewire: Tidewire, open: Open, stop?: AbortSignal): AsyncGenerator<EventSourceMessage, void> {
  const place: { "Last-Event-ID"?: string } = {};
  let wasConnected = false;
  for (let failures = 1; !stop?.aborted; failures += 1) {
    const connection = new AbortController();
    const signal = stop === undefined ? connection.signal : either(connection.signal, stop);
    let rest = 0;
    try {
      const { data, error, response } = await open(place, signal);
      if (response.ok && data) {
        wasConnected = true;
        for await (const frame of read(data, connection)) {
          failures = 0;
          if (frame.id) place["Last-Event-ID"] = frame.id;
          yield frame;
        }
      } else {
        // The client has tried again what passes as often as it does.
        if (!PASSING.includes(response.status) || !wasConnected) throw errorOf(error, response);
        rest = retryAfter(response) ?? 0;
      }
    } catch (error) {
      if (stop?.aborted) return;
      // Once it has been connected it goes on for ever; a server that was never there is an error.
      if (!wasConnected || !isLost(error)) throw error;
    } finally {
      connection.abort();
    }
    try {
      await sleep(Math.max(rest, backoff(tidewire.retry, Math.max(failures, 1))), undefined, stop && { signal: stop });
    } catch {
      return;
    }
  }
}

/** Broken off, refused or silent. */
function isLost(error: unknown): boolean {
  return error instanceof TypeError || (error instanceof Error && ["AbortError", "TimeoutError"].includes(error.name));
}

/** The frames of one connection, until it ends or has been silent for too long. */
async function* read(body: ReadableStream<Uint8Array>, connection: AbortController): AsyncGenerator<EventSourceMessage> {
  const silent = () => connection.abort(new DOMException("the stream is silent", "TimeoutError"));
  let timer = setTimeout(silent, SILENCE);
  const heard = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      clearTimeout(timer);
      timer = setTimeout(silent, SILENCE);
      controller.enqueue(chunk);
    },
  });
  try {
    const text = body.pipeThrough(heard).pipeThrough(new TextDecoderStream() as unknown as TransformStream<Uint8Array, string>);
    yield* text.pipeThrough(new EventSourceParserStream());
  } finally {
    clearTimeout(timer);
  }
}
