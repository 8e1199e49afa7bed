// Drives pg-boss: batches that are fetched and completed together, and LISTEN/NOTIFY to be told of new jobs.

import pg from "pg";
import { PgBoss } from "pg-boss";

import { main } from "../node/driver.mjs";

const QUEUE = "noop";
const CONNECTIONS = 25;
const BATCH = 2_000;
/** Workers that fetch and complete side by side. */
const WORKERS = 2;
/** Where jobs come one by one to somebody who waits; elsewhere NOTIFY only costs. */
const NOTIFIED = ["concurrent", "latency", "paced"];

await main(async (connectionString, task) => {
  const notify = NOTIFIED.includes(task);
  const boss = new PgBoss({ connectionString, max: CONNECTIONS, useListenNotify: notify });
  boss.on("error", () => {});
  await boss.start();
  await boss.createQueue(QUEUE, { notify, partition: true });
  const looking = new pg.Client({ connectionString });
  await looking.connect();
  return {
    insert: (jobs) => boss.insert(QUEUE, jobs.map((data) => ({ data }))),
    insertOne: (data) => boss.send(QUEUE, data),
    async start(seen) {
      const options = {
        batchSize: BATCH,
        localConcurrency: WORKERS,
        burstWhenBatchFull: true,
        pollingIntervalSeconds: 0.5,
        notifyPollingIntervalSeconds: 0.5,
      };
      await boss.work(QUEUE, options, async (jobs) => jobs.forEach((job) => seen(job.data)));
    },
    async pending() {
      const { rows } = await looking.query(
        "SELECT 1 FROM pgboss.job WHERE name = $1 AND state < 'completed' LIMIT 1",
        [QUEUE],
      );
      return rows.length;
    },
    async close() {
      await boss.stop({ graceful: false });
      await looking.end();
    },
  };
});
