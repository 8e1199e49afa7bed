import { Webhook, WebhookVerificationError } from "standardwebhooks";

export { WebhookVerificationError };

/** A delivery of a trigger whose signature is good. */
export interface Delivery {
  /** The execution's id: the same for each attempt, so that a repetition is known. */
  id: string;
  /** When this attempt was sent. */
  timestamp: Date;
  /** The body, as JSON; undefined if there is none. */
  payload: unknown;
  /** The trigger's id; undefined for a test of a trigger that is not stored. */
  triggerId: string | undefined;
  /** Which attempt this is, from 1. */
  attempt: number;
}

type Headers = Record<string, string | string[] | undefined>;

/** Judges deliveries by the secrets of a trigger: one, or two while it is rotated. */
export class Receiver {
  readonly #webhooks: Webhook[];

  constructor(...secrets: [string, ...string[]]) {
    // A secret without the prefix is the key itself, byte for byte.
    this.#webhooks = secrets.map((secret) =>
      secret.startsWith("whsec_") ? new Webhook(secret) : new Webhook(secret, { format: "raw" }),
    );
  }

  /**
   * The delivery, if one of the secrets has signed it and it is no older than five minutes; else a
   * `WebhookVerificationError` is thrown.
   *
   * @param body The body as it came, byte for byte.
   * @param headers The request's headers, such as Node's `request.headers`, or `Object.fromEntries(request.headers)`.
   */
  receive(body: Uint8Array | string, headers: Headers): Delivery {
    const text = typeof body === "string" ? body : new TextDecoder().decode(body);
    const lower: Record<string, string> = {};
    for (const [name, value] of Object.entries(headers)) {
      if (typeof value === "string") lower[name.toLowerCase()] = value;
    }
    if (!this.#webhooks.some((webhook) => hasSigned(webhook, text, lower))) {
      throw new WebhookVerificationError("no secret has signed this, or it is too old");
    }
    return {
      id: lower["webhook-id"] ?? "",
      timestamp: new Date(Number(lower["webhook-timestamp"]) * 1000),
      payload: text === "" ? undefined : JSON.parse(text),
      triggerId: lower["x-tidewire-trigger"],
      attempt: Number(lower["x-tidewire-attempt"] ?? 1),
    };
  }
}

function hasSigned(webhook: Webhook, body: string, headers: Record<string, string>): boolean {
  try {
    webhook.verify(body, headers, { jsonParse: false });
    return true;
  } catch {
    return false;
  }
}
