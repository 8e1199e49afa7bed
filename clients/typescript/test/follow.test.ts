/** Live streams, over connections that break. */
import assert from "node:assert/strict";
import test from "node:test";

import { followEvents, followThread, ok } from "tidewire";

import { cutter, eventually, fresh, server } from "./support.js";

const { api } = server();
const append = (stream: string, payload: number) => ok(api.POST("/v1/events", { body: { type: "tick", stream, payload } }));

test("a stream goes on where it broke off", async () => {
  const stream = fresh();
  const proxy = await cutter();
  await append(stream, 0);
  const through = server({ url: proxy.url, retry: { base: 10 } });
  const seen: number[] = [];
  for await (const event of followEvents(through, { after: "0", stream })) {
    const payload = event.payload as number;
    seen.push(payload);
    if (seen.length === 10) break;
    if (payload % 3 === 0) proxy.cut();
    await append(stream, payload + 1);
  }
  proxy.close();
  assert.deepEqual(seen, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  assert(proxy.connections() >= 4);
});

test("from now begins when it is asked for, and a signal ends it", async () => {
  const stream = fresh();
  await append(stream, 0);
  const proxy = await cutter();
  const stop = new AbortController();
  const seen: number[] = [];
  const following = (async () => {
    const through = server({ url: proxy.url, retry: { base: 10 } });
    for await (const event of followEvents(through, { stream, type: "tick", signal: stop.signal })) {
      seen.push(event.payload as number);
    }
  })();
  await eventually("it hears", async () => {
    await append(stream, 1);
    return seen.length > 0 || undefined;
  });
  proxy.cut();
  await append(stream, 2);
  await append(stream, 3);
  await eventually("it has the last one", () => seen.at(-1) === 3 || undefined);
  stop.abort();
  await following;
  proxy.close();
  assert(!seen.includes(0));
  assert.deepEqual(seen.slice(-2), [2, 3]);
});

test("a turn is followed to its end", async () => {
  const id = fresh();
  const { turn_id } = await ok(api.POST("/v1/turns", { body: { thread_id: id, input: "hello", agent: "nobody" } }));
  for (const type of ["message.delta", "message.completed", "turn.completed"]) {
    const body = { type, turn_id, payload: {}, event_id: `${id}-${type}` };
    await ok(api.POST("/v1/threads/{id}/events", { params: { path: { id } }, body }));
  }
  const types: string[] = [];
  for await (const event of followThread(server(), id, { turnId: turn_id })) types.push(event.type);
  assert.deepEqual(types, ["turn.started", "message.delta", "message.completed", "turn.completed"]);
  const later: number[] = [];
  for await (const event of followThread(server(), id, { turnId: turn_id, afterSeq: 2 })) later.push(event.seq);
  assert.deepEqual(later, [3, 4]);
});

test("a refusal ends it", async () => {
  await assert.rejects(followEvents(server(), { after: "no such place" }).next(), { status: 400 });
});
