from typing import Any

import httpx

from ...client import Client


def request() -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/metrics",
    }
    return _kwargs


def _read(response: httpx.Response) -> str:
    if response.status_code == 200:
        response_200 = response.text
        return response_200

    raise Client.unexpected(response)


def sync(
    *,
    client: Client,
) -> str:
    """The process's metrics in Prometheus' text format."""
    return _read(client.send(request()))


async def asyncio(
    *,
    client: Client,
) -> str:
    """The process's metrics in Prometheus' text format."""
    return _read(await client.send_async(request()))
