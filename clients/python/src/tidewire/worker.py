"""Runs jobs in this process: claims them, keeps them by heartbeats, and reports how they ended.

    worker = Worker(client, {"mail": send_mail}, queues=["mail"])
    signal.signal(signal.SIGTERM, lambda *_: worker.stop())
    worker.run()

A job runs at least once: a worker that dies after its work and before its report has it run again. What a processor
does outside should be safe to repeat. The server's lease is authoritative: a result counts only while it is held.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from .api.workers import claim_jobs, complete_job, fail_job, heartbeat_job, release_job
from .client import Client
from .errors import ApiError, TidewireError
from .models.claim_jobs import ClaimJobs
from .models.claimed_job import ClaimedJob
from .models.complete_job import CompleteJob
from .models.fail_job import FailJob
from .models.heartbeat_job import HeartbeatJob
from .models.release_job import ReleaseJob
from .types import UNSET

log = logging.getLogger("tidewire.worker")

# As much of an error as the server keeps.
_LONGEST_ERROR = 8192


class Failure(Exception):
    """Raised by a processor: the attempt has failed. Any other exception is one too, tried again after the backoff.

    Args:
        retry_in: The seconds after which to try again, in place of the backoff.
        permanent: Never try again.
    """

    def __init__(self, message: str, *, retry_in: int | None = None, permanent: bool = False) -> None:
        super().__init__(message)
        self.retry_in = retry_in
        self.permanent = permanent


class Release(Exception):
    """Raised by a processor: give the job back as it was, without counting the attempt."""


class Work:
    """A job in the hands of a processor."""

    def __init__(self, job: ClaimedJob) -> None:
        self.job = job
        #: Set when the job was cancelled or its lease is lost: what is done from now on counts for nothing.
        self.cancelled = threading.Event()
        self._progress: Any = UNSET

    @property
    def payload(self) -> Any:
        """What the job is about."""
        return self.job.payload

    def progress(self, progress: Any) -> None:
        """Say how far it is: any JSON of at most 4 KiB, sent along with the next heartbeat."""
        self._progress = progress


Processor = Callable[[Work], Any]


class Worker:
    """Runs jobs of the types that it has processors for, in threads.

    Args:
        client: How the server is asked; its key needs the scope `worker`.
        processors: What runs the jobs of each type. It returns the job's output (JSON, or None), or raises.
        queues: Only from these queues.
        name: What the server calls this worker.
        concurrency: Jobs that run at once.
        lease_seconds: For how long a job is held without a heartbeat; they are sent at a third of it.
        wait_seconds: For how long a claim is held open, and so the longest that `stop` takes to be noticed.
    """

    def __init__(
        self,
        client: Client,
        processors: Mapping[str, Processor],
        *,
        queues: Sequence[str] = (),
        name: str | None = None,
        concurrency: int = 4,
        lease_seconds: int = 60,
        wait_seconds: int = 10,
    ) -> None:
        self._client = client
        self._processors = dict(processors)
        self._queues = list(queues)
        self._name = name or f"{socket.gethostname()}:{os.getpid()}"
        self._concurrency = concurrency
        self._lease = lease_seconds
        self._wait = wait_seconds
        self._slots = threading.Semaphore(concurrency)
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Claim no more; `run` returns when what runs has ended. May be called from a signal's handler."""
        self._stopping.set()

    def run(self) -> None:
        """Run jobs until `stop` is called. What the server refuses (a wrong key, an unknown type) is raised."""
        failures = 0
        with ThreadPoolExecutor(self._concurrency, thread_name_prefix="tidewire") as threads:
            while not self._stopping.is_set():
                free = self._free_slots()
                try:
                    jobs = self._claim(free)
                    failures = 0
                except (ApiError, httpx.TransportError) as error:
                    self._give_back_slots(free)
                    if isinstance(error, ApiError) and error.status < 500 and error.status != 429:
                        raise
                    failures += 1
                    log.warning("cannot claim: %s", error)
                    self._stopping.wait(self._client.retry.backoff(failures))
                    continue
                self._give_back_slots(free - len(jobs))
                for job in jobs:
                    threads.submit(self._run, job)

    def _free_slots(self) -> int:
        self._slots.acquire()
        free = 1
        while self._slots.acquire(blocking=False):
            free += 1
        return free

    def _give_back_slots(self, number: int) -> None:
        if number > 0:
            self._slots.release(number)

    def _claim(self, limit: int) -> list[ClaimedJob]:
        wanted = ClaimJobs(
            worker=self._name,
            types=list(self._processors),
            queues=self._queues or UNSET,
            limit=limit,
            wait_seconds=self._wait,
            lease_seconds=self._lease,
        )
        return claim_jobs.sync(client=self._client, body=wanted).jobs

    def _run(self, job: ClaimedJob) -> None:
        work, ended = Work(job), threading.Event()
        heart = threading.Thread(target=self._beat, args=(work, ended), name=f"heart of {job.id}", daemon=True)
        heart.start()
        try:
            report = self._process(work)
            ended.set()
            heart.join()
            if not work.cancelled.is_set():
                report()
        except (TidewireError, httpx.TransportError) as error:
            # The lease runs out, and the job is tried again.
            log.warning("job %s: its end could not be reported: %s", job.id, error)
        finally:
            ended.set()
            self._slots.release()

    def _process(self, work: Work) -> Callable[[], object]:
        """Run the processor; what it came to is the report to send."""
        job, client = work.job, self._client
        token = job.lease_token
        try:
            output = self._processors[job.type_](work)
        except Release:
            return lambda: release_job.sync(job.id, client=client, body=ReleaseJob(lease_token=token))
        except Exception as error:
            if not isinstance(error, Failure):
                log.exception("job %s failed", job.id)
            failed = FailJob(
                lease_token=token,
                error="".join(traceback.format_exception_only(error)).strip()[:_LONGEST_ERROR]
                if not isinstance(error, Failure)
                else str(error)[:_LONGEST_ERROR],
                retry_in_seconds=getattr(error, "retry_in", None),
                permanent=getattr(error, "permanent", False),
            )
            return lambda: fail_job.sync(job.id, client=client, body=failed)
        done = CompleteJob(lease_token=token, output=output)
        return lambda: complete_job.sync(job.id, client=client, body=done)

    def _beat(self, work: Work, ended: threading.Event) -> None:
        job = work.job
        while not ended.wait(self._lease / 3):
            beat = HeartbeatJob(lease_token=job.lease_token, lease_seconds=self._lease, progress=work._progress)
            try:
                heartbeat_job.sync(job.id, client=self._client, body=beat)
            except ApiError as error:
                if error.status == 409:
                    log.warning("job %s: %s", job.id, error.problem.detail)
                    work.cancelled.set()
                    return
                log.warning("job %s: no heartbeat: %s", job.id, error)
            except (TidewireError, httpx.TransportError) as error:
                log.warning("job %s: no heartbeat: %s", job.id, error)
