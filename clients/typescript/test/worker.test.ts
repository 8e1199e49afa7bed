/** The worker against a server's queue. */
import assert from "node:assert/strict";
import test from "node:test";

import { Failure, ok, Release, Worker, type Processor, type WorkerSettings } from "tidewire";

import { eventually, fresh, server } from "./support.js";

const tidewire = server();
const { api } = tidewire;

async function enqueue(queue: string, type: string, payload: unknown = null, max_attempts = 3): Promise<string> {
  return (await ok(api.POST("/v1/jobs", { body: { type, queue, payload, max_attempts } }))).id;
}

const look = (id: string) => ok(api.GET("/v1/jobs/{id}", { params: { path: { id } } }));

const ended = (id: string) =>
  eventually(`job ${id} ends`, async () => {
    const found = await look(id);
    return found.status === "pending" || found.status === "running" ? undefined : found;
  });

async function running<T>(processors: Record<string, Processor>, settings: WorkerSettings, during: () => Promise<T>) {
  const worker = new Worker(tidewire, processors, { waitSeconds: 1, onWarning: () => undefined, ...settings });
  const run = worker.run();
  try {
    return await during();
  } finally {
    worker.stop();
    await run;
  }
}

test("jobs end as their processors say", async () => {
  const queue = fresh();
  const tried: number[] = [];
  const processors: Record<string, Processor> = {
    double: ({ payload }) => (payload as number) * 2,
    flaky: async ({ job }) => {
      tried.push(job.attempts);
      if (job.attempts === 1) throw new Failure("not yet", { retryIn: 0 });
      return "at last";
    },
    hopeless: () => {
      throw new Failure("never", { permanent: true });
    },
    broken: () => {
      throw new RangeError("too far");
    },
  };
  const jobs: Record<string, string> = {};
  for (const type of Object.keys(processors)) jobs[type] = await enqueue(queue, type, 21, type === "broken" ? 1 : 3);
  await running(processors, { queues: [queue], name: queue }, async () => {
    const double = await ended(jobs["double"]!);
    assert.deepEqual([double.output, double.attempts_log[0]?.worker], [42, queue]);
    assert.equal((await ended(jobs["flaky"]!)).output, "at last");
    assert.deepEqual(tried, [1, 2]);
    const hopeless = await ended(jobs["hopeless"]!);
    assert.deepEqual([hopeless.status, hopeless.last_error], ["failed", "never"]);
    assert.equal((await ended(jobs["broken"]!)).last_error, "RangeError: too far");
  });
});

test("heartbeats keep a job and hear that it was cancelled", async () => {
  const queue = fresh();
  const id = await enqueue(queue, "long");
  let told = false;
  const long: Processor = async (work) => {
    work.progress({ done: 0.5 });
    await new Promise<void>((cancelled) => work.signal.addEventListener("abort", () => cancelled()));
    told = true;
  };
  await running({ long }, { queues: [queue], leaseSeconds: 1 }, async () => {
    const seen = await eventually("it says how far it is", async () => (await look(id)).progress ?? undefined);
    assert.deepEqual(seen, { done: 0.5 });
    await ok(api.POST("/v1/jobs/{id}/cancel", { params: { path: { id } } }));
  });
  assert(told);
  const found = await look(id);
  assert.deepEqual([found.status, found.attempts], ["cancelled", 1]);
});

test("a job that is given back does not cost an attempt", async () => {
  const queue = fresh();
  let givenBack = 0;
  const later: Processor = () => {
    if (givenBack++ === 0) throw new Release();
    return "done";
  };
  const id = await enqueue(queue, "later", null, 1);
  await running({ later }, { queues: [queue] }, async () => assert.equal((await ended(id)).output, "done"));
  assert.equal(givenBack, 2);
});

test("no more run at once than there are slots, and stop waits for them", async () => {
  const queue = fresh();
  let [now, most] = [0, 0];
  let open: (() => void) | undefined;
  const gate = new Promise<void>((resolve) => (open = resolve));
  const count: Processor = async () => {
    most = Math.max(most, ++now);
    await gate;
    now -= 1;
  };
  const jobs: string[] = [];
  for (let n = 0; n < 5; n += 1) jobs.push(await enqueue(queue, "count"));
  await running({ count }, { queues: [queue], concurrency: 2 }, async () => {
    await eventually("both slots are taken", () => now === 2 || undefined);
    open?.();
    for (const job of jobs) assert.equal((await ended(job)).status, "done");
  });
  assert.deepEqual([now, most], [0, 2]);
});

test("a key that may not work ends the worker", async () => {
  const stranger = server({ apiKey: "tw_wrong" });
  await assert.rejects(new Worker(stranger, { t: () => undefined }).run(), { status: 401 });
});
