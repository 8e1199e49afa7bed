// Drives graphile-worker with the settings of its own performance test.

import { Logger, makeWorkerUtils, run } from "graphile-worker";
import pg from "pg";

import { main } from "../node/driver.mjs";

const TASK = "noop";
const CONCURRENT_JOBS = 24;
const LOCAL_QUEUE = 500;

const quiet = new Logger(() => () => {});

await main(async (connectionString, _task, options) => {
  const worker = {
    concurrentJobs: CONCURRENT_JOBS,
    maxPoolSize: CONCURRENT_JOBS + 1,
    localQueue: { size: options["local-queue"] ?? LOCAL_QUEUE, refetchDelay: { durationMs: 10 } },
    completeJobBatchDelay: 0,
    failJobBatchDelay: 0,
  };
  const pgPool = new pg.Pool({ connectionString, max: CONCURRENT_JOBS + 1 });
  // A connection that ends with the server is no news at the end of a run.
  pgPool.on("error", () => {});
  pgPool.on("connect", (client) => client.on("error", () => {}));
  const utils = await makeWorkerUtils({ pgPool, logger: quiet });
  await utils.migrate();
  let runner;
  return {
    insert: (jobs) => utils.addJobs(jobs.map((payload) => ({ identifier: TASK, payload }))),
    insertOne: (payload) => utils.addJob(TASK, payload),
    async start(seen) {
      runner = await run({
        pgPool,
        logger: quiet,
        noHandleSignals: true,
        taskList: { [TASK]: seen },
        preset: { worker },
      });
    },
    // Finished jobs are deleted.
    async pending() {
      const { rows } = await pgPool.query("SELECT 1 FROM graphile_worker._private_jobs LIMIT 1");
      return rows.length;
    },
    async close() {
      await runner?.stop();
      await utils.release();
    },
  };
});
