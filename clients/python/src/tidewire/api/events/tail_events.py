from typing import Any

from ...types import UNSET, Unset


def request(
    *,
    type_: str | Unset = UNSET,
    stream: str | Unset = UNSET,
    after: str | Unset = UNSET,
    last_event_id: str | Unset = UNSET,
) -> dict[str, Any]:
    """The request of a live stream, which `tidewire.follow` reads, as httpx takes it."""
    headers: dict[str, Any] = {}
    if not isinstance(last_event_id, Unset):
        headers["Last-Event-ID"] = last_event_id

    params: dict[str, Any] = {}

    params["type"] = type_

    params["stream"] = stream

    params["after"] = after

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/events/tail",
        "params": params,
    }
    _kwargs["headers"] = headers
    return _kwargs
