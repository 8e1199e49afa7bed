from typing import Any, cast

import httpx

from ...client import Client


def request() -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""

    _kwargs: dict[str, Any] = {
        "method": "delete",
        "url": "/v1/fleet/schema",
    }
    return _kwargs


def _read(response: httpx.Response) -> None:
    if response.status_code == 204:
        response_204 = cast(Any, None)
        return response_204

    raise Client.unexpected(response)


def sync(
    *,
    client: Client,
) -> None:
    """Take the schema away."""
    return _read(client.send(request()))


async def asyncio(
    *,
    client: Client,
) -> None:
    """Take the schema away."""
    return _read(await client.send_async(request()))
