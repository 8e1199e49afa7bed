"""Live streams, over connections that break."""

import threading

import pytest
from conftest import Cutter, eventually

from tidewire import ApiError, Client, Retry, follow_events, follow_thread
from tidewire.api.events import append_events
from tidewire.api.threads import accept_turn, append_thread_events
from tidewire.models import EventIn, NewThreadEvent, NewTurn


def append(client: Client, stream: str, payload: int) -> None:
    append_events.sync(client=client, body=EventIn(type_="tick", stream=stream, payload=payload))


def test_a_stream_goes_on_where_it_broke_off(client: Client, cutter: Cutter, key: str | None, name: str) -> None:
    append(client, name, 0)
    through = Client(cutter.url, api_key=key, retry=Retry(base=0.01))
    seen = []
    for event in follow_events(through, after="0", stream=name):
        seen.append(event.payload)
        if len(seen) == 10:
            break
        if event.payload % 3 == 0:
            cutter.cut()
        append(client, name, event.payload + 1)
    assert seen == list(range(10))
    assert cutter.connections >= 4


def test_from_now_begins_when_it_is_asked_for_and_loses_nothing(
    client: Client, cutter: Cutter, key: str | None, name: str
) -> None:
    append(client, name, 0)
    through = Client(cutter.url, api_key=key, retry=Retry(base=0.01))
    seen: list[int] = []

    def follow() -> None:
        for event in follow_events(through, stream=name, type_="tick"):
            seen.append(event.payload)
            if event.payload == 3:
                return

    follower = threading.Thread(target=follow)
    follower.start()
    # The place is asked for by one request, the stream by another; then it is cut before anything has come.
    eventually("it follows", lambda: cutter.connections >= 1 or None)
    eventually("it hears", lambda: append(client, name, 1) or (seen and True) or None)
    cutter.cut()
    append(client, name, 2)
    append(client, name, 3)
    follower.join(30)
    assert 0 not in seen and seen[-2:] == [2, 3]


def test_a_turn_is_followed_to_its_end(client: Client, name: str) -> None:
    turn = accept_turn.sync(client=client, body=NewTurn(thread_id=name, input_="hello", agent="nobody"))
    for n, type_ in enumerate(["message.delta", "message.completed", "turn.completed"]):
        said = NewThreadEvent(type_=type_, turn_id=turn.turn_id, payload={"n": n}, event_id=f"{name}-{n}")
        append_thread_events.sync(name, client=client, body=said)
    types = [event.type_ for event in follow_thread(client, name, turn_id=turn.turn_id)]
    assert types == ["turn.started", "message.delta", "message.completed", "turn.completed"]
    later = [event.seq for event in follow_thread(client, name, turn_id=turn.turn_id, after_seq=2)]
    assert later == [3, 4]


def test_a_refusal_ends_it(client: Client) -> None:
    with pytest.raises(ApiError) as refused:
        next(follow_events(client, after="no such place"))
    assert refused.value.status == 400
