// What is measured of a queue on Node, whichever it is: the options, the runs, and the one line of JSON with figures.
//
// A peer is an object with `insert(jobs)` (its bulk interface), `insertOne(job)`, `start(seen)` (works the queue and
// calls `seen` with each payload on the first line of its handler), `pending()` (jobs whose completion is not committed)
// and `close()`. All of it happens in this process, and no peer pays for HTTP; only a backlog may be worked by several.

import { fork } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

const INSERT_BATCH = 5_000;
const NOTE =
  "a no-op job that carries about two hundred bytes of JSON, as the jobs of everybody else here do; " +
  "this text is what makes up most of them, and is never looked at";

/** Runs the task that the command line names, on the peer that `open` makes of the database's URL, task and options. */
export async function main(open) {
  try {
    await run(open);
  } catch (error) {
    console.error(`error: ${error?.message ?? error}`);
    process.exit(1);
  }
  // Whatever a library still waits for is nobody's concern any more.
  process.exit(0);
}

async function run(open) {
  const { url, task, options } = parse(process.argv.slice(2));
  const measure = RUNS[task];
  if (!url || !measure) {
    throw new Error("usage: main.mjs --database-url URL TASK [--option number]");
  }
  const peer = await open(url, task, options);
  const figures = await measure(peer, options);
  if (figures) {
    console.log(JSON.stringify(figures));
  }
  await peer.close();
}

function parse(words) {
  let [url, task] = [undefined, undefined];
  const options = {};
  while (words.length > 0) {
    const word = words.shift();
    if (word === "--database-url") {
      url = words.shift();
    } else if (word.startsWith("--")) {
      options[word.slice(2)] = Number(words.shift());
    } else {
      task = word;
    }
  }
  return { url, task, options };
}

function payload() {
  return { note: NOTE, sent_ms: performance.now() };
}

function payloads(count) {
  return Array.from({ length: count }, payload);
}

/** Counts what was started, and lets others wait for a number of them. */
class Starts {
  count = 0;
  waited = [];
  #wanted = Infinity;
  #reached = () => {};

  seen = (job) => {
    this.waited.push(performance.now() - job.sent_ms);
    this.count += 1;
    if (this.count >= this.#wanted) {
      this.#wanted = Infinity;
      this.#reached();
    }
  };

  async reach(count) {
    if (this.count < count) {
      await new Promise((reached) => {
        this.#wanted = count;
        this.#reached = reached;
      });
    }
  }
}

/** Waits until every one of so many was started and its completion is committed. */
async function allDone(peer, starts, jobs) {
  await starts.reach(jobs);
  while ((await peer.pending()) > 0) {
    await sleep(2);
  }
}

async function insertAll(peer, jobs) {
  for (let left = jobs; left > 0; left -= INSERT_BATCH) {
    await peer.insert(payloads(Math.min(left, INSERT_BATCH)));
  }
}

/** This program again, as a process that is ready to work. */
async function another() {
  const words = process.argv.slice(2).map((word) => (word === "backlog" ? "another" : word));
  const child = fork(process.argv[1], words);
  await once(child, "message");
  return child;
}

class Began {
  at = performance.now();
  cpu = process.cpuUsage();

  done(counted) {
    const seconds = (performance.now() - this.at) / 1_000;
    const { user, system } = process.cpuUsage(this.cpu);
    return {
      rate: counted / seconds,
      counted,
      cpu_seconds: (user + system) / 1e6,
      ...memory(),
    };
  }
}

function memory() {
  const status = readFileSync("/proc/self/status", "utf8");
  const mib = (field) => Number(status.match(new RegExp(`${field}:\\s+(\\d+)`))?.[1]) / 1_024;
  return { rss_mib: mib("VmRSS"), peak_rss_mib: mib("VmHWM") };
}

function times(millis) {
  if (millis.length === 0) {
    return {};
  }
  const sorted = Float64Array.from(millis).sort();
  const at = (quantile) => sorted[Math.min(Math.floor(quantile * sorted.length), sorted.length - 1)];
  return { p50_ms: at(0.5), p99_ms: at(0.99), p999_ms: at(0.999) };
}

const RUNS = {
  async migrate() {
    return {};
  },

  async backlog(peer, { jobs, processes = 1 }) {
    await insertAll(peer, jobs);
    // Connected and waiting before the clock starts, as this process is.
    const others = await Promise.all(Array.from({ length: processes - 1 }, another));
    const began = new Began();
    others.forEach((other) => other.send("start"));
    await peer.start(() => {});
    while ((await peer.pending()) > 0) {
      await sleep(2);
    }
    const figures = began.done(jobs);
    for (const other of others) {
      other.send("end");
      const [used] = await once(other, "message");
      figures.cpu_seconds += used.cpu_seconds;
      figures.rss_mib += used.rss_mib;
      figures.peak_rss_mib += used.peak_rss_mib;
    }
    return figures;
  },

  /** One of several that work a backlog, as the first of them says. */
  async another(peer) {
    process.on("disconnect", () => process.exit(1));
    const told = () => once(process, "message");
    process.send("ready");
    await told();
    const began = new Began();
    await peer.start(() => {});
    await told();
    const { rate, counted, ...used } = began.done(0);
    process.send(used);
  },

  async concurrent(peer, { jobs, producers }) {
    const starts = new Starts();
    await peer.start(starts.seen);
    const began = new Began();
    let left = jobs;
    const produce = async () => {
      while (left > 0) {
        left -= 1;
        await peer.insertOne(payload());
      }
    };
    await Promise.all(Array.from({ length: producers }, produce));
    await allDone(peer, starts, jobs);
    return { ...began.done(jobs), ...times(starts.waited) };
  },

  async enqueue(peer, options) {
    const { batch, callers } = options;
    const countingFrom = performance.now() + options["warmup-ms"];
    const end = countingFrom + options["measure-ms"];
    let counted = 0;
    const took = [];
    const call = async () => {
      while (performance.now() < end) {
        const jobs = payloads(batch);
        const began = performance.now();
        await (batch === 1 ? peer.insertOne(jobs[0]) : peer.insert(jobs));
        const now = performance.now();
        if (now > countingFrom && now <= end) {
          counted += batch;
          took.push(now - began);
        }
      }
    };
    const calling = Array.from({ length: callers }, call);
    await sleep(options["warmup-ms"]);
    const began = new Began();
    await sleep(end - performance.now());
    const figures = began.done(counted);
    await Promise.all(calling);
    return { ...figures, ...times(took) };
  },

  async latency(peer, options) {
    const starts = new Starts();
    await peer.start(starts.seen);
    await sleep(500);
    for (let job = 1; job <= options.jobs; job += 1) {
      await peer.insertOne(payload());
      await starts.reach(job);
      await sleep(options["gap-ms"]);
    }
    return { ...memory(), ...times(starts.waited) };
  },

  async paced(peer, options) {
    const starts = new Starts();
    await peer.start(starts.seen);
    await sleep(500);
    const first = performance.now();
    const inserting = [];
    for (let job = 0; job < options.jobs; job += 1) {
      const due = first + job * options["every-ms"];
      if (due > performance.now()) {
        await sleep(due - performance.now());
      }
      // A slow insert does not hold the next one up.
      inserting.push(peer.insertOne(payload()));
    }
    await Promise.all(inserting);
    await starts.reach(options.jobs);
    return { ...memory(), ...times(starts.waited) };
  },

  async through(peer, { jobs, last, chunk }) {
    const starts = new Starts();
    await peer.start(starts.seen);
    let [inserted, began, before] = [0, undefined, 0];
    while (inserted < jobs) {
      if (!began && inserted + last >= jobs) {
        [began, before] = [new Began(), starts.count];
      }
      const next = Math.min(chunk, jobs - inserted);
      await insertAll(peer, next);
      inserted += next;
      await starts.reach(inserted - chunk);
    }
    await allDone(peer, starts, jobs);
    if (!began) {
      throw new Error("too few jobs to have last ones");
    }
    return began.done(jobs - before);
  },

  async idle(peer, { seconds }) {
    await peer.start(() => {});
    await sleep(seconds * 1_000);
    return memory();
  },
};
