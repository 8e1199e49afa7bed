"""The worker against a server's queue."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from conftest import eventually

from tidewire import ApiError, Client, Failure, Release, Work, Worker
from tidewire.api.jobs import cancel_job, enqueue_job, get_job
from tidewire.models import JobDetail, JobStatus, NewJob


@contextmanager
def running(worker: Worker) -> Iterator[None]:
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield
    finally:
        worker.stop()
        thread.join(60)
        assert not thread.is_alive()


def enqueue(client: Client, queue: str, type_: str, payload: object = None, max_attempts: int = 3) -> str:
    new = NewJob(type_=type_, queue=queue, payload=payload, max_attempts=max_attempts)
    return enqueue_job.sync(client=client, body=new).id


def ended(client: Client, job: str) -> JobDetail:
    def look() -> JobDetail | None:
        found = get_job.sync(job, client=client)
        return None if found.status in (JobStatus.PENDING, JobStatus.RUNNING) else found

    return eventually(f"job {job} ends", look)


def test_jobs_end_as_their_processors_say(client: Client, name: str) -> None:
    tried: list[int] = []

    def flaky(work: Work) -> str:
        tried.append(work.job.attempts)
        if work.job.attempts == 1:
            raise Failure("not yet", retry_in=0)
        return "at last"

    def hopeless(work: Work) -> None:
        raise Failure("never", permanent=True)

    def broken(work: Work) -> None:
        raise ZeroDivisionError("by zero")

    processors = {"double": lambda work: work.payload * 2, "flaky": flaky, "hopeless": hopeless, "broken": broken}
    worker = Worker(client, processors, queues=[name], name=name, wait_seconds=1)
    jobs = {type_: enqueue(client, name, type_, 21, max_attempts=1 if type_ == "broken" else 3) for type_ in processors}
    with running(worker):
        ends = {type_: ended(client, job) for type_, job in jobs.items()}
    assert (ends["double"].output, ends["double"].locked_by) == (42, None)
    assert ends["double"].attempts_log[0].worker == name
    assert (ends["flaky"].output, tried) == ("at last", [1, 2])
    assert (ends["hopeless"].status, ends["hopeless"].last_error) == (JobStatus.FAILED, "never")
    assert ends["broken"].last_error == "ZeroDivisionError: by zero"


def test_heartbeats_keep_a_job_and_hear_that_it_was_cancelled(client: Client, name: str) -> None:
    told = threading.Event()

    def long(work: Work) -> None:
        work.progress({"done": 0.5})
        told.set() if work.cancelled.wait(30) else None

    job = enqueue(client, name, "long")
    with running(Worker(client, {"long": long}, queues=[name], wait_seconds=1, lease_seconds=1)):
        seen = eventually("it says how far it is", lambda: get_job.sync(job, client=client).progress)
        assert seen == {"done": 0.5}
        cancel_job.sync(job, client=client)
        assert told.wait(30)
    found = get_job.sync(job, client=client)
    assert (found.status, found.attempts) == (JobStatus.CANCELLED, 1)


def test_a_job_that_is_given_back_does_not_cost_an_attempt(client: Client, name: str) -> None:
    given_back: list[str] = []

    def later(work: Work) -> str:
        if not given_back:
            given_back.append(work.job.id)
            raise Release
        return "done"

    job = enqueue(client, name, "later", max_attempts=1)
    with running(Worker(client, {"later": later}, queues=[name], wait_seconds=1)):
        assert ended(client, job).output == "done"
    assert given_back == [job]


def test_no_more_run_at_once_than_there_are_slots_and_stop_waits_for_them(client: Client, name: str) -> None:
    lock, gate = threading.Lock(), threading.Event()
    now, most = 0, 0

    def count(work: Work) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        gate.wait(30)
        with lock:
            now -= 1

    jobs = [enqueue(client, name, "count") for _ in range(5)]
    with running(Worker(client, {"count": count}, queues=[name], concurrency=2, wait_seconds=1)):
        eventually("both slots are taken", lambda: now == 2 or None)
        gate.set()
        assert {ended(client, job).status for job in jobs} == {JobStatus.DONE}
    assert (now, most) == (0, 2)


def test_a_key_that_may_not_work_ends_the_worker(url: str) -> None:
    with Client(url, api_key="tw_wrong") as stranger, pytest.raises(ApiError) as refused:
        Worker(stranger, {"t": lambda work: None}).run()
    assert refused.value.status == 401
