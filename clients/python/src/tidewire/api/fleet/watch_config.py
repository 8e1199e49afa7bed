from typing import Any

from ...types import UNSET, Unset


def request(
    *,
    agent_id: str | Unset = UNSET,
) -> dict[str, Any]:
    """The request of a live stream, which `tidewire.follow` reads, as httpx takes it."""

    params: dict[str, Any] = {}

    params["agent_id"] = agent_id

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/fleet/watch",
        "params": params,
    }
    return _kwargs
