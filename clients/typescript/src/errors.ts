import type { Problem } from "./api.gen.js";

/** The server's answer is a problem (RFC 9457). */
export class ApiError extends Error {
  override readonly name = "ApiError";

  constructor(
    readonly problem: Problem,
    /** The milliseconds that the server asks to wait before the request is sent again. */
    readonly retryAfter?: number,
  ) {
    const places = (problem.errors ?? []).map(({ pointer, detail }) => `; ${pointer || "/"}: ${detail}`);
    super(`${problem.status}: ${problem.detail}${places.join("")} (request ${problem.request_id})`);
  }

  /** The HTTP status. */
  get status(): number {
    return this.problem.status;
  }

  /** What kind of problem it is, such as `conflict`. */
  get kind(): string {
    return this.problem.type.slice(this.problem.type.lastIndexOf(":") + 1);
  }
}

/** An answer that the API's description does not know: a proxy's, or another server's. */
export class UnexpectedAnswer extends Error {
  override readonly name = "UnexpectedAnswer";

  constructor(readonly response: Response) {
    super(`${response.status} from ${response.url}`);
  }
}

/** The milliseconds of `Retry-After`; Tidewire sends no dates in it. */
export function retryAfter(response: Response): number | undefined {
  const seconds = Number.parseFloat(response.headers.get("retry-after") ?? "");
  return seconds >= 0 ? seconds * 1000 : undefined;
}

/** The error that an answer is. */
export function errorOf(body: unknown, response: Response): ApiError | UnexpectedAnswer {
  return isProblem(body) ? new ApiError(body, retryAfter(response)) : new UnexpectedAnswer(response);
}

function isProblem(body: unknown): body is Problem {
  return typeof body === "object" && body !== null && "type" in body && "status" in body && "request_id" in body;
}
