import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";

import type { ClaimedJob } from "./api.gen.js";
import { ok, type Tidewire } from "./client.js";
import { ApiError } from "./errors.js";
import { backoff } from "./retry.js";

// As much of an error as the server keeps.
const LONGEST_ERROR = 8192;

/**
 * Thrown by a processor: the attempt has failed. Any other error is one too, tried again after the backoff.
 *
 * `retryIn`: the seconds after which to try again, in place of the backoff. `permanent`: never try again.
 */
export class Failure extends Error {
  override readonly name = "Failure";

  constructor(
    message: string,
    readonly how: { retryIn?: number; permanent?: boolean } = {},
  ) {
    super(message);
  }
}

/** Thrown by a processor: give the job back as it was, without counting the attempt. */
export class Release extends Error {
  override readonly name = "Release";
}

/** A job in the hands of a processor. */
export class Work {
  readonly #cancelled = new AbortController();
  #progress: unknown;

  constructor(readonly job: ClaimedJob) {}

  /** What the job is about. */
  get payload(): unknown {
    return this.job.payload;
  }

  /** Aborted when the job was cancelled or its lease is lost: what is done from then on counts for nothing. */
  get signal(): AbortSignal {
    return this.#cancelled.signal;
  }

  /** Say how far it is: any JSON of at most 4 KiB, sent along with the next heartbeat. */
  progress(progress: unknown): void {
    this.#progress = progress;
  }

  /** @internal */
  get said(): unknown {
    return this.#progress;
  }

  /** @internal */
  cancel(): void {
    this.#cancelled.abort();
  }
}

/** Runs a job: what it returns is the job's output (JSON, or nothing). */
export type Processor = (work: Work) => unknown;

export interface WorkerSettings {
  /** Only from these queues. */
  queues?: string[];
  /** What the server calls this worker. */
  name?: string;
  /** Jobs that run at once; 4 if it is missing. */
  concurrency?: number;
  /** For how long a job is held without a heartbeat, which is sent at a third of it; 60 if it is missing. */
  leaseSeconds?: number;
  /** For how long a claim is held open, and so the longest that `stop` takes to be noticed; 10 if it is missing. */
  waitSeconds?: number;
  /** Hears what goes wrong and is not thrown: a claim, a heartbeat or a report that did not get through. */
  onWarning?: (message: string, error: unknown) => void;
}

/**
 * Runs jobs of the types that it has processors for, in this process: claims them, keeps them by heartbeats, and reports
 * how they ended.
 *
 *     const worker = new Worker(tidewire, { mail: sendMail }, { queues: ["mail"] });
 *     process.once("SIGTERM", () => worker.stop());
 *     await worker.run();
 *
 * A job runs at least once: a worker that dies after its work and before its report has it run again. What a processor
 * does outside should be safe to repeat. The server's lease is authoritative: a result counts only while it is held.
 */
export class Worker {
  readonly #tidewire: Tidewire;
  readonly #processors: Map<string, Processor>;
  readonly #settings: Required<Omit<WorkerSettings, "queues">> & Pick<WorkerSettings, "queues">;
  readonly #stopping = new AbortController();

  constructor(tidewire: Tidewire, processors: Record<string, Processor>, settings: WorkerSettings = {}) {
    this.#tidewire = tidewire;
    this.#processors = new Map(Object.entries(processors));
    this.#settings = {
      name: `${hostname()}:${process.pid}`,
      concurrency: 4,
      leaseSeconds: 60,
      waitSeconds: 10,
      onWarning: (message, error) => console.warn(`${message}:`, error),
      ...settings,
    };
  }

  /** Claim no more; `run` returns when what runs has ended. */
  stop(): void {
    this.#stopping.abort();
  }

  /** Run jobs until `stop` is called. What the server refuses (a wrong key, an unknown type) is thrown. */
  async run(): Promise<void> {
    const running = new Set<Promise<void>>();
    try {
      for (let failures = 0; !this.#stopping.signal.aborted; ) {
        if (running.size >= this.#settings.concurrency) {
          await Promise.race(running);
          continue;
        }
        let jobs: ClaimedJob[];
        try {
          jobs = await this.#claim(this.#settings.concurrency - running.size);
          failures = 0;
        } catch (error) {
          if (error instanceof ApiError && error.status < 500 && error.status !== 429) throw error;
          failures += 1;
          this.#settings.onWarning("cannot claim", error);
          const stopped = { signal: this.#stopping.signal };
          await sleep(backoff(this.#tidewire.retry, failures), undefined, stopped).catch(() => undefined);
          continue;
        }
        for (const job of jobs) {
          const run = this.#run(job).finally(() => running.delete(run));
          running.add(run);
        }
      }
    } finally {
      await Promise.all(running);
    }
  }

  async #claim(limit: number): Promise<ClaimedJob[]> {
    const { name, queues, waitSeconds, leaseSeconds } = this.#settings;
    const body = {
      worker: name,
      types: [...this.#processors.keys()],
      ...(queues !== undefined && { queues }),
      limit,
      wait_seconds: waitSeconds,
      lease_seconds: leaseSeconds,
    };
    return (await ok(this.#tidewire.api.POST("/v1/jobs/claim", { body }))).jobs;
  }

  async #run(job: ClaimedJob): Promise<void> {
    const work = new Work(job);
    const ended = new AbortController();
    const heart = this.#beat(work, ended.signal);
    const report = await this.#process(work);
    ended.abort();
    await heart;
    if (work.signal.aborted) return;
    try {
      await report();
    } catch (error) {
      // The lease runs out, and the job is tried again.
      this.#settings.onWarning(`the end of job ${job.id} could not be reported`, error);
    }
  }

  /** Runs the processor; what it came to is the report to send. */
  async #process(work: Work): Promise<() => Promise<unknown>> {
    const { id, type, lease_token } = work.job;
    const { api } = this.#tidewire;
    const params = { path: { id } };
    try {
      const output = await this.#processors.get(type)?.(work);
      return () => ok(api.POST("/v1/jobs/{id}/complete", { params, body: { lease_token, output } }));
    } catch (error) {
      if (error instanceof Release) {
        return () => ok(api.POST("/v1/jobs/{id}/release", { params, body: { lease_token } }));
      }
      const how = error instanceof Failure ? error.how : {};
      const body = {
        lease_token,
        error: (error instanceof Failure ? error.message : String(error)).slice(0, LONGEST_ERROR),
        permanent: how.permanent ?? false,
        ...(how.retryIn !== undefined && { retry_in_seconds: how.retryIn }),
      };
      return () => ok(api.POST("/v1/jobs/{id}/fail", { params, body }));
    }
  }

  async #beat(work: Work, ended: AbortSignal): Promise<void> {
    const { id, lease_token } = work.job;
    const { leaseSeconds } = this.#settings;
    while (!ended.aborted) {
      try {
        await sleep((leaseSeconds * 1000) / 3, undefined, { signal: ended });
      } catch {
        return;
      }
      const body = { lease_token, lease_seconds: leaseSeconds, ...(work.said !== undefined && { progress: work.said }) };
      try {
        await ok(this.#tidewire.api.POST("/v1/jobs/{id}/heartbeat", { params: { path: { id } }, body }));
      } catch (error) {
        this.#settings.onWarning(`job ${id}: no heartbeat`, error);
        if (error instanceof ApiError && error.status === 409) return work.cancel();
      }
    }
  }
}
