import { setTimeout as sleep } from "node:timers/promises";

import { retryAfter } from "./errors.js";
import { either } from "./signals.js";

/**
 * How often, and how patiently, a client repeats what may be repeated. Times are milliseconds.
 *
 * Reads, and writes that the server knows again, are repeated after broken connections, time-outs, 429, 502, 503 and
 * 504; other writes only where nothing can have happened. A `Retry-After` is obeyed up to `longestWait`.
 */
export interface Retry {
  tries: number;
  base: number;
  cap: number;
  longestWait: number;
}

export const RETRY: Retry = { tries: 5, base: 200, cap: 5_000, longestWait: 60_000 };

/** The wait after try number `tried`, with a jitter of a fifth. */
export function backoff(retry: Retry, tried: number): number {
  return Math.min(retry.cap, retry.base * 2 ** Math.min(tried - 1, 30)) * (0.8 + 0.4 * Math.random());
}

// Nothing has happened: the server did not take the request.
const REFUSED = [429, 503];
// Whether something has happened is unknown: the answer is another's.
const LOST = [502, 504];
// What makes a body safe to send again: the server knows it by this when it comes twice. The lease's token is of that
// kind, for a report of a job that has ended is answered as it was.
const KEYS = ["dedupe_key", "idempotency_key", "event_id", "turn_id", "lease_token"];

type Fetch = (request: Request) => Promise<Response>;

/** `fetch`, again where that is safe. Each try has `timeout` milliseconds until its answer begins. */
export function repeating(fetch: Fetch, retry: Retry, timeout: number): Fetch {
  return async (request) => {
    const known = await isKnownAgain(request);
    for (let tried = 1; ; tried += 1) {
      let wait: number | undefined;
      try {
        const response = await within(timeout, request, fetch);
        if (REFUSED.includes(response.status) || (known && LOST.includes(response.status))) {
          wait = Math.max(backoff(retry, tried), retryAfter(response) ?? 0);
        }
        if (wait === undefined || tried >= retry.tries || wait > retry.longestWait) return response;
        await response.body?.cancel();
      } catch (error) {
        const may = known || isRefused(error);
        if (!may || request.signal.aborted || tried >= retry.tries) throw error;
        wait = backoff(retry, tried);
      }
      await sleep(wait, undefined, { signal: request.signal });
    }
  };
}

/** The limit ends with the head of the answer: a stream's body may take for ever. */
async function within(timeout: number, request: Request, fetch: Fetch): Promise<Response> {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(new DOMException("no answer in time", "TimeoutError")), timeout);
  try {
    return await fetch(new Request(request.clone(), { signal: either(request.signal, late.signal) }));
  } finally {
    clearTimeout(timer);
  }
}

function isRefused(error: unknown): boolean {
  const cause = error instanceof Error ? error.cause : undefined;
  const code = typeof cause === "object" && cause !== null && "code" in cause ? cause.code : undefined;
  return code === "ECONNREFUSED" || code === "ENOTFOUND" || code === "EAI_AGAIN" || code === "UND_ERR_CONNECT_TIMEOUT";
}

async function isKnownAgain(request: Request): Promise<boolean> {
  if (request.method !== "POST" || request.headers.has("idempotency-key")) return true;
  const text = await request.clone().text();
  const body: unknown = text === "" ? undefined : JSON.parse(text);
  const parts: unknown[] = Array.isArray(body) ? body : [body];
  return parts.length > 0 && parts.every((part) => KEYS.some((key) => Boolean((part as Record<string, unknown>)?.[key])));
}
