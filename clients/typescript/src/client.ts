import { randomUUID } from "node:crypto";

import createClient, { type Client, type Middleware } from "openapi-fetch";

import type { paths } from "./api.gen.js";
import { errorOf } from "./errors.js";
import { RETRY, repeating, type Retry } from "./retry.js";

export interface Settings {
  /** Where the server is; `http://127.0.0.1:8080` if it is missing. */
  url?: string;
  /** A key; none is needed by a server that is open to its own machine. */
  apiKey?: string;
  /** The tenant to act on; only a key with the scope `admin` may choose. */
  tenant?: string;
  /** How requests are repeated; `{ tries: 1 }` repeats nothing. */
  retry?: Partial<Retry>;
  /** Milliseconds until an answer begins; 90 s if it is missing, as claims and long polls are held open for a minute. */
  timeout?: number;
  /** What sends a request, if that is not the global `fetch`. */
  fetch?: (request: Request) => Promise<Response>;
}

/** A server, and how it is asked: one for all of a program. */
export class Tidewire {
  /** Every operation of the API by method and path: `tidewire.api.POST("/v1/jobs", { body })`. */
  readonly api: Client<paths>;
  readonly retry: Retry;

  constructor(settings: Settings = {}) {
    this.retry = { ...RETRY, ...settings.retry };
    const headers: Record<string, string> = { accept: "application/json" };
    if (settings.apiKey !== undefined) headers["authorization"] = `Bearer ${settings.apiKey}`;
    if (settings.tenant !== undefined) headers["x-tenant"] = settings.tenant;
    const send = settings.fetch ?? ((request: Request) => fetch(request));
    this.api = createClient<paths>({
      baseUrl: (settings.url ?? "http://127.0.0.1:8080").replace(/\/+$/, ""),
      headers,
      fetch: repeating(send, this.retry, settings.timeout ?? 90_000),
    });
    this.api.use(WITH_KEY);
  }
}

/**
 * What an operation answers, or its error thrown:
 *
 *     const job = await ok(tidewire.api.POST("/v1/jobs", { body: { type: "echo" } }));
 */
export async function ok<T>(answer: Promise<Answer<T>>): Promise<T> {
  const { data, error, response } = await answer;
  if (!response.ok) throw errorOf(error, response);
  return data as T;
}

type Answer<T> = { data: T; error?: never; response: Response } | { data?: never; error: unknown; response: Response };

/** The operations that an `Idempotency-Key` makes happen once, as the description has them. */
type Keyed = {
  [P in keyof paths]: paths[P] extends { post: { parameters: { header?: infer H } } }
    ? [NonNullable<H>] extends [never]
      ? never
      : "Idempotency-Key" extends keyof NonNullable<H>
        ? P
        : never
    : never;
}[keyof paths];

const KEYED: Record<Keyed, true> = {
  "/v1/jobs": true,
  "/v1/triggers": true,
  "/v1/turns": true,
  "/v1/webhook/{trigger_id}": true,
};

/** Has each of them under a fresh key, unless the caller gave one: then it may be sent again. */
const WITH_KEY: Middleware = {
  onRequest({ request, schemaPath }) {
    if (request.method === "POST" && schemaPath in KEYED && !request.headers.has("idempotency-key")) {
      request.headers.set("idempotency-key", randomUUID());
    }
    return request;
  },
};
