/** The generated operations against the server that describes them. */
import assert from "node:assert/strict";
import test from "node:test";

import { ApiError, ok } from "tidewire";

import { eventually, fresh, server } from "./support.js";

const { api } = server();

test("an event is stored once and read back", async () => {
  const name = fresh();
  const body = { type: "order.paid", stream: name, dedupe_key: name, payload: { amount: 12.5, lines: [1, null] } };
  const first = await ok(api.POST("/v1/events", { body }));
  const again = await ok(api.POST("/v1/events", { body }));
  assert(!Array.isArray(first) && !Array.isArray(again));
  assert.deepEqual([first.seq, first.duplicated], [1, false]);
  assert.deepEqual([again.id, again.duplicated], [first.id, true]);
  const read = await ok(api.GET("/v1/events/{id}", { params: { path: { id: first.id } } }));
  assert.deepEqual(read.payload, body.payload);
  assert.deepEqual([read.subject, read.dedupe_key], [null, name]);
});

test("pages follow the cursor", async () => {
  const stream = fresh();
  const body = [0, 1, 2, 3, 4].map((payload) => ({ type: "tick", stream, payload }));
  await ok(api.POST("/v1/events", { body }));
  const first = await ok(api.GET("/v1/events", { params: { query: { stream, limit: 3 } } }));
  assert(first.next_cursor !== null);
  const query = { stream, limit: 3, cursor: first.next_cursor };
  const rest = await ok(api.GET("/v1/events", { params: { query } }));
  assert.deepEqual(
    [...first.events, ...rest.events].map((event) => event.payload),
    [4, 3, 2, 1, 0],
  );
  assert.equal(rest.next_cursor, null);
});

test("a refusal says what is wrong and where", async () => {
  await assert.rejects(ok(api.POST("/v1/events", { body: { type: "no spaces allowed" } })), (error) => {
    assert(error instanceof ApiError);
    assert.deepEqual([error.status, error.kind], [400, "invalid"]);
    assert.deepEqual(error.problem.errors?.map(({ pointer }) => pointer), ["/type"]);
    return true;
  });
  const answer = await api.GET("/v1/jobs/{id}", { params: { path: { id: "none" } } });
  assert.equal(answer.response.status, 404);
  assert.equal(answer.error?.status, 404);
});

test("a job runs and is found, and the same request has the first answer", async () => {
  const key = fresh();
  const enqueue = () =>
    api.POST("/v1/jobs", {
      body: { type: "echo", payload: [1, "zwei"] },
      params: { header: { "Idempotency-Key": key } },
    });
  const job = await ok(enqueue());
  assert.equal((await ok(enqueue())).id, job.id);
  const done = await eventually("it is done", async () => {
    const found = await ok(api.GET("/v1/jobs/{id}", { params: { path: { id: job.id } } }));
    return found.status === "done" ? found : undefined;
  });
  assert.deepEqual(done.output, [1, "zwei"]);
  assert.equal(done.attempts_log[0]?.outcome, "done");
});

test("a trigger is made, read and deleted", async () => {
  const config = { cron: "0 9 * * MON-FRI", timezone: "Europe/Berlin", endpoint: "https://hooks.example/in" };
  const made = await ok(api.POST("/v1/triggers", { body: { name: "report", type: "cron_scheduled", config } }));
  const params = { path: { id: made.id } };
  const read = await ok(api.GET("/v1/triggers/{id}", { params }));
  assert.deepEqual(read.config, config);
  const { runs } = await ok(api.GET("/v1/triggers/{id}/preview", { params: { ...params, query: { count: 3 } } }));
  assert.deepEqual([runs.length, runs[0]], [3, made.next_scheduled_run]);
  await ok(api.DELETE("/v1/triggers/{id}", { params }));
  await assert.rejects(ok(api.GET("/v1/triggers/{id}", { params })), { status: 404 });
});

test("a thread has what is said in it", async () => {
  const thread_id = fresh();
  const turn = await ok(api.POST("/v1/turns", { body: { thread_id, input: "hello", agent: "nobody" } }));
  const params = { path: { id: thread_id } };
  const said = { type: "custom", payload: { n: 1 }, turn_id: turn.turn_id, event_id: fresh() } as const;
  await ok(api.POST("/v1/threads/{id}/events", { params, body: said }));
  const { events } = await ok(api.GET("/v1/threads/{id}/events", { params }));
  assert.deepEqual(
    events.map((event) => event.type),
    ["turn.started", "custom"],
  );
});
