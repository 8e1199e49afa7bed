/** Deliveries that the server signs, as a receiver judges them. */
import assert from "node:assert/strict";
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import test from "node:test";

import { ok, Receiver, WebhookVerificationError } from "tidewire";

import { eventually, server } from "./support.js";

const OLD = `whsec_${"A".repeat(43)}=`;
const NEW = "a text of one's own";
const WRONG = `whsec_${"B".repeat(43)}=`;

test("a delivery is taken by each secret and by no other", async () => {
  const got: [Buffer, IncomingHttpHeaders][] = [];
  const sink = createServer(async (request, response) => {
    got.push([Buffer.concat(await request.toArray()), request.headers]);
    response.writeHead(204).end();
  });
  await new Promise<void>((listening) => sink.listen(0, "127.0.0.1", listening));
  const endpoint = `http://127.0.0.1:${(sink.address() as AddressInfo).port}/in`;
  const payload = { text: "grün € 🌊", n: [1, null] };
  const config = { endpoint, secret: [OLD, NEW], payload };
  const fired = await ok(server().api.POST("/v1/triggers/test", { body: { type: "webhook", config } }));
  const [body, headers] = await eventually("it is delivered", () => got[0]);
  sink.close();
  for (const secrets of [[OLD], [NEW], [WRONG, NEW]] as [string, ...string[]][]) {
    const delivery = new Receiver(...secrets).receive(body, headers);
    assert.deepEqual([delivery.id, delivery.payload, delivery.attempt], [fired.execution_id, payload, 1]);
  }
  const refused = (secret: string, body: string, headers: IncomingHttpHeaders) =>
    assert.throws(() => new Receiver(secret).receive(body, headers), WebhookVerificationError);
  refused(WRONG, body.toString(), headers);
  refused(OLD, `${body} `, headers);
  refused(OLD, body.toString(), {});
  refused(OLD, body.toString(), { ...headers, "webhook-timestamp": "1700000000" });
  refused(OLD, body.toString(), { ...headers, "webhook-signature": "nonsense" });
});
