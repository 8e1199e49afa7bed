"""Live streams, which go on by themselves where they broke off: nothing is skipped and nothing comes twice.

They end by `break`, by the end of what is followed, or by an `ApiError` that says why the server refuses.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
from httpx_sse import EventSource, ServerSentEvent

from .api.events import list_events, tail_events
from .api.threads import stream_thread_events
from .client import Client
from .errors import error, retry_after
from .models.event import Event
from .models.thread_event import ThreadEvent
from .types import UNSET

# The server breaks its silence every 15 s: after three times of that the connection is dead.
_SILENCE = 50.0
# What comes of restarts, proxies and full servers; anything else is a refusal.
_PASSING = frozenset({408, 429, 500, 502, 503, 504})


def follow_events(
    client: Client, *, after: str | None = None, type_: str | None = None, stream: str | None = None
) -> Iterator[Event]:
    """Follow the log: what it has after an event's id (`"0"`: from its start), then what comes, for ever.

    Without `after` it begins with what comes from now on. To go on in another process, keep the `id` of the last event
    that was dealt with, and give it as `after`.
    """
    if after is None:
        # "From now" is made a place at once: a connection that broke before its first event would lose some otherwise.
        newest = list_events.sync(client=client, limit=1).events
        after = newest[0].id if newest else "0"
    request = tail_events.request(after=after, type_=type_ or UNSET, stream=stream or UNSET)
    for frame in _frames(client, request):
        yield Event.from_dict(json.loads(frame.data))


def follow_thread(
    client: Client, thread_id: str, *, after_seq: int | None = None, turn_id: str | None = None
) -> Iterator[ThreadEvent]:
    """Follow a thread: what it has after a number, then what comes. With `turn_id` it ends with that turn."""
    request = stream_thread_events.request(
        thread_id, after_seq=UNSET if after_seq is None else after_seq, turn_id=turn_id or UNSET
    )
    for frame in _frames(client, request):
        if frame.data == "[DONE]":
            return
        yield ThreadEvent.from_dict(json.loads(frame.data))


def _frames(client: Client, request: dict[str, Any]) -> Iterator[ServerSentEvent]:
    headers = {**request.pop("headers", {}), "Accept": "text/event-stream", "Cache-Control": "no-store"}
    failures, was_connected = 0, False
    while True:
        rest = 0.0
        broken: Exception | None = None
        try:
            timeout = httpx.Timeout(_SILENCE, connect=10.0)
            with client.http.stream(**request, headers=headers, timeout=timeout) as response:
                if response.is_success:
                    was_connected = True
                    for frame in EventSource(response).iter_sse():
                        failures = 0
                        if frame.id:
                            headers["Last-Event-ID"] = frame.id
                        yield frame
                else:
                    response.read()
                    broken = error(response)
                    if response.status_code not in _PASSING:
                        raise broken
                    rest = retry_after(response) or 0.0
        except httpx.TransportError as lost:
            broken = lost
        failures += 1
        # Once it has been connected it goes on for ever; a server that was never there is an error.
        if broken is not None and not was_connected and failures >= client.retry.tries:
            raise broken
        time.sleep(max(rest, client.retry.backoff(failures)))
