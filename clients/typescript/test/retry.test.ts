/** What is sent again, and what is not. */
import assert from "node:assert/strict";
import test from "node:test";

import { ApiError, ok, Tidewire } from "tidewire";

const PROBLEM = { type: "unavailable", title: "later", status: 503, detail: "d", request_id: "r" };
const APPENDED = { id: "e", stream: "default", seq: 1, created_at: "2026-01-01T00:00:00Z", duplicated: false };

type Answer = () => Response;

const unavailable: Answer = () => Response.json(PROBLEM, { status: 503, headers: { "retry-after": "0" } });
const badGateway: Answer = () => new Response("<html>", { status: 502 });
const appended: Answer = () => Response.json(APPENDED, { status: 201 });
const broken: Answer = () => {
  throw new TypeError("fetch failed", { cause: { code: "ECONNRESET" } });
};
const refused: Answer = () => {
  throw new TypeError("fetch failed", { cause: { code: "ECONNREFUSED" } });
};

/** A client of a server that gives these answers, the last one for ever; and what it was asked. */
function against(...answers: Answer[]) {
  const asked: Request[] = [];
  const fetch = async (request: Request) => {
    asked.push(request);
    await request.text();
    return answers[Math.min(asked.length, answers.length) - 1]!();
  };
  const { api } = new Tidewire({ url: "http://test", fetch, retry: { base: 0 } });
  return { api, asked };
}

for (const failure of [unavailable, refused]) {
  test("what was not taken is sent again", async () => {
    const { api, asked } = against(failure, failure, appended);
    await ok(api.POST("/v1/events", { body: { type: "t" } }));
    assert.equal(asked.length, 3);
  });
}

for (const failure of [badGateway, broken]) {
  test("what may have been taken is sent again only with a key", async () => {
    const plain = against(failure, appended);
    await assert.rejects(ok(plain.api.POST("/v1/events", { body: { type: "t" } })));
    assert.equal(plain.asked.length, 1);
    const keyed = against(failure, appended);
    await ok(keyed.api.POST("/v1/events", { body: { type: "t", dedupe_key: "k" } }));
    assert.equal(keyed.asked.length, 2);
    const mixed = against(failure, appended);
    await assert.rejects(ok(mixed.api.POST("/v1/events", { body: [{ type: "t", dedupe_key: "k" }, { type: "t" }] })));
    assert.equal(mixed.asked.length, 1);
  });
}

test("a claim whose answer got lost is not made twice", async () => {
  const { api, asked } = against(broken);
  await assert.rejects(api.POST("/v1/jobs/claim", { body: { worker: "w" } }));
  assert.equal(asked.length, 1);
});

test("an operation that takes a request key has the same one at each try", async () => {
  const { api, asked } = against(broken, badGateway, unavailable);
  await assert.rejects(ok(api.POST("/v1/jobs", { body: { type: "t" } })), ApiError);
  const keys = new Set(asked.map((request) => request.headers.get("idempotency-key")));
  assert.deepEqual([asked.length, keys.size, keys.has(null)], [5, 1, false]);
});

test("a longer wait than is wanted is left to the caller", async () => {
  const inAnHour = () => Response.json({ ...PROBLEM, status: 429 }, { status: 429, headers: { "retry-after": "3600" } });
  const { api, asked } = against(inAnHour);
  await assert.rejects(ok(api.GET("/v1/jobs")), { status: 429, retryAfter: 3_600_000 });
  assert.equal(asked.length, 1);
});
