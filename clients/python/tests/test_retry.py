"""What is sent again, and what is not."""

from collections.abc import Callable

import httpx
import pytest

from tidewire import ApiError, Client, Retry, UnexpectedAnswer
from tidewire.api.events import append_events
from tidewire.api.jobs import enqueue_job, list_jobs
from tidewire.api.workers import claim_jobs
from tidewire.models import ClaimJobs, EventIn, NewJob

UNAVAILABLE = {
    "type": "urn:tidewire:problem:unavailable",
    "title": "later",
    "status": 503,
    "detail": "d",
    "request_id": "r",
}
APPENDED = {"id": "e", "stream": "default", "seq": 1, "created_at": "2026-01-01T00:00:00Z", "duplicated": False}

Answer = Callable[[], httpx.Response]


def unavailable() -> httpx.Response:
    return httpx.Response(503, json=UNAVAILABLE, headers={"retry-after": "0"})


def bad_gateway() -> httpx.Response:
    return httpx.Response(502, text="<html>")


def broken() -> httpx.Response:
    raise httpx.ReadError("the connection broke")


def refused() -> httpx.Response:
    raise httpx.ConnectError("nobody is there")


def appended() -> httpx.Response:
    return httpx.Response(201, json=APPENDED)


def against(*answers: Answer, retry: Retry = Retry(base=0)) -> tuple[Client, list[httpx.Request]]:
    """A client of a server that gives these answers, the last one for ever; and what it was asked."""
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return answers[min(len(asked), len(answers)) - 1]()

    return Client("http://test", retry=retry, transport=httpx.MockTransport(answer)), asked


@pytest.mark.parametrize("failure", [unavailable, refused])
def test_what_was_not_taken_is_sent_again(failure: Answer) -> None:
    client, asked = against(failure, failure, appended)
    append_events.sync(client=client, body=EventIn(type_="t"))
    assert len(asked) == 3


@pytest.mark.parametrize("failure", [bad_gateway, broken])
def test_what_may_have_been_taken_is_sent_again_only_with_a_key(failure: Answer) -> None:
    client, asked = against(failure, appended)
    with pytest.raises((UnexpectedAnswer, httpx.ReadError)):
        append_events.sync(client=client, body=EventIn(type_="t"))
    assert len(asked) == 1
    client, asked = against(failure, appended)
    append_events.sync(client=client, body=EventIn(type_="t", dedupe_key="k"))
    assert len(asked) == 2
    client, asked = against(failure, appended)
    with pytest.raises((UnexpectedAnswer, httpx.ReadError)):
        append_events.sync(client=client, body=[EventIn(type_="t", dedupe_key="k"), EventIn(type_="t")])
    assert len(asked) == 1


def test_a_claim_whose_answer_got_lost_is_not_made_twice() -> None:
    client, asked = against(broken)
    with pytest.raises(httpx.ReadError):
        claim_jobs.sync(client=client, body=ClaimJobs(worker="w"))
    assert len(asked) == 1


def test_an_operation_that_takes_a_request_key_has_the_same_one_at_each_try() -> None:
    client, asked = against(broken, bad_gateway, unavailable, retry=Retry(tries=3, base=0))
    with pytest.raises(ApiError):
        enqueue_job.sync(client=client, body=NewJob(type_="t"))
    keys = {request.headers["idempotency-key"] for request in asked}
    assert len(asked) == 3 and len(keys) == 1


def test_tries_end_with_the_last_error() -> None:
    client, asked = against(unavailable)
    with pytest.raises(ApiError) as error:
        list_jobs.sync(client=client)
    assert (error.value.status, error.value.retry_after, len(asked)) == (503, 0.0, 5)


def test_a_longer_wait_than_is_wanted_is_left_to_the_caller() -> None:
    def in_an_hour() -> httpx.Response:
        return httpx.Response(429, json={**UNAVAILABLE, "status": 429}, headers={"retry-after": "3600"})

    client, asked = against(in_an_hour)
    with pytest.raises(ApiError) as error:
        list_jobs.sync(client=client)
    assert (error.value.retry_after, len(asked)) == (3600.0, 1)
