from typing import Any

import httpx

from ...client import Client


def request() -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/",
    }
    return _kwargs


def _read(response: httpx.Response) -> None:
    raise Client.unexpected(response)


def sync(
    *,
    client: Client,
) -> None:
    """The start page."""
    return _read(client.send(request()))


async def asyncio(
    *,
    client: Client,
) -> None:
    """The start page."""
    return _read(await client.send_async(request()))
