"""The generated operations against the server that describes them."""

import asyncio

import pytest
from conftest import eventually

from tidewire import ApiError, Client
from tidewire.api.analytics import get_summary
from tidewire.api.events import append_events, get_event, list_events
from tidewire.api.jobs import enqueue_job, get_job, list_jobs
from tidewire.api.operations import get_health
from tidewire.api.threads import accept_turn, append_thread_events, cancel_turn, list_thread_events
from tidewire.api.triggers import create_trigger, delete_trigger, get_trigger, preview_trigger
from tidewire.models import (
    Appended,
    CancelBody,
    CronConfig,
    EventIn,
    JobStatus,
    NewJob,
    NewThreadEvent,
    NewTrigger,
    NewTurn,
    PreviewTrigger,
    TriggerType,
    TurnStatus,
)


def test_an_event_is_stored_once_and_read_back(client: Client, name: str) -> None:
    new = EventIn(type_="order.paid", stream=name, dedupe_key=name, payload={"amount": 12.5, "lines": [1, None]})
    first = append_events.sync(client=client, body=new)
    again = append_events.sync(client=client, body=new)
    assert isinstance(first, Appended) and isinstance(again, Appended)
    assert (first.seq, first.duplicated) == (1, False)
    assert (again.id, again.duplicated) == (first.id, True)
    read = get_event.sync(first.id, client=client)
    assert read.payload == {"amount": 12.5, "lines": [1, None]}
    assert (read.subject, read.dedupe_key) == (None, name)
    assert read.created_at.tzinfo is not None


def test_an_array_is_answered_by_an_array_and_pages_follow_the_cursor(client: Client, name: str) -> None:
    events = [EventIn(type_="tick", stream=name, payload=n) for n in range(5)]
    stored = append_events.sync(client=client, body=events)
    assert isinstance(stored, list) and [one.seq for one in stored] == [1, 2, 3, 4, 5]
    first = list_events.sync(client=client, stream=name, limit=3)
    assert first.next_cursor is not None
    rest = list_events.sync(client=client, stream=name, limit=3, cursor=first.next_cursor)
    assert [event.payload for event in first.events + rest.events] == [4, 3, 2, 1, 0]
    assert rest.next_cursor is None


def test_a_refusal_says_what_is_wrong_and_where(client: Client, name: str) -> None:
    with pytest.raises(ApiError) as refused:
        append_events.sync(client=client, body=EventIn(type_="no spaces allowed"))
    assert (refused.value.status, refused.value.kind) == (400, "invalid")
    assert [error.pointer for error in refused.value.errors] == ["/type"]
    with pytest.raises(ApiError) as conflict:
        append_events.sync(client=client, body=EventIn(type_="t", stream=name, expected_seq=7))
    assert conflict.value.status == 409
    with pytest.raises(ApiError) as unknown:
        get_job.sync("none", client=client)
    assert unknown.value.status == 404


def test_a_job_runs_and_is_found(client: Client, name: str) -> None:
    job = enqueue_job.sync(client=client, body=NewJob(type_="echo", payload=[1, "zwei"], idempotency_key=name))
    assert (job.status, job.last_error) == (JobStatus.PENDING, None)

    def ended() -> object:
        found = get_job.sync(job.id, client=client)
        return found if found.status == JobStatus.DONE else None

    eventually("it is done", ended)
    done = get_job.sync(job.id, client=client)
    assert done.output == [1, "zwei"]
    assert done.attempts_log[0].outcome == "done"
    found = list_jobs.sync(client=client, status=JobStatus.DONE, type_="echo")
    assert job.id in [one.id for one in found.jobs]


def test_the_same_request_has_the_first_answer(client: Client, name: str) -> None:
    body = NewJob(type_="echo", queue="nobody", payload=1)
    first = enqueue_job.sync(client=client, body=body, idempotency_key=name)
    assert enqueue_job.sync(client=client, body=body, idempotency_key=name).id == first.id
    assert enqueue_job.sync(client=client, body=body).id != first.id


def test_a_trigger_is_made_read_previewed_and_deleted(client: Client, name: str) -> None:
    config = CronConfig(cron="0 9 * * MON-FRI", timezone="Europe/Berlin", endpoint="https://hooks.example/in")
    new = NewTrigger(name=name, type_=TriggerType.CRON_SCHEDULED, config=config)
    made = create_trigger.sync(client=client, body=new)
    read = get_trigger.sync(made.id, client=client)
    assert read.next_scheduled_run == made.next_scheduled_run
    assert read.config.to_dict() == config.to_dict()
    runs = preview_trigger.sync(
        client=client, body=PreviewTrigger(type_=TriggerType.CRON_SCHEDULED, config=config, count=3)
    ).runs
    assert len(runs) == 3 and runs[0] == made.next_scheduled_run
    delete_trigger.sync(made.id, client=client)
    with pytest.raises(ApiError):
        get_trigger.sync(made.id, client=client)


def test_a_turn_is_accepted_and_its_thread_has_what_is_said(client: Client, name: str) -> None:
    turn = accept_turn.sync(client=client, body=NewTurn(thread_id=name, input_="hello", agent="nobody"))
    said = NewThreadEvent(type_="custom", payload={"n": 1}, turn_id=turn.turn_id, event_id=f"{name}-1")
    append_thread_events.sync(name, client=client, body=said)
    cancelled = cancel_turn.sync(turn.turn_id, client=client, body=CancelBody(thread_id=name))
    assert cancelled.status == TurnStatus.CANCELLED
    events = list_thread_events.sync(name, client=client).events
    assert [event.type_ for event in events] == ["turn.started", "custom", "turn.cancelled"]
    assert {event.spec_version for event in events} == {"agent-events/1.0"}


def test_counts_and_health(client: Client, name: str) -> None:
    append_events.sync(client=client, body=EventIn(type_="counted", stream=name))
    assert get_summary.sync(client=client).events_received >= 1
    assert get_health.sync(client=client).status == "ok"


def test_requests_may_be_awaited(url: str, key: str | None, name: str) -> None:
    async def append_together() -> list[int]:
        async with Client(url, api_key=key) as client:
            events = [EventIn(type_="tick", stream=name) for _ in range(8)]
            stored = await asyncio.gather(*[append_events.asyncio(client=client, body=event) for event in events])
        return sorted(one.seq for one in stored if isinstance(one, Appended))

    assert asyncio.run(append_together()) == list(range(1, 9))
