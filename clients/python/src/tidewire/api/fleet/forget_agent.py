from typing import Any, cast
from urllib.parse import quote

import httpx

from ...client import Client


def request(
    id: str,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""

    _kwargs: dict[str, Any] = {
        "method": "delete",
        "url": "/v1/fleet/agents/{id}".format(
            id=quote(str(id), safe=""),
        ),
    }
    return _kwargs


def _read(response: httpx.Response) -> None:
    if response.status_code == 204:
        response_204 = cast(Any, None)
        return response_204

    raise Client.unexpected(response)


def sync(
    id: str,
    *,
    client: Client,
) -> None:
    """Forget an agent that is gone for good.

    Should it ask again all the same, it registers, and is who it was.

    Args:
        id (str):
    """
    return _read(
        client.send(
            request(
                id=id,
            )
        )
    )


async def asyncio(
    id: str,
    *,
    client: Client,
) -> None:
    """Forget an agent that is gone for good.

    Should it ask again all the same, it registers, and is who it was.

    Args:
        id (str):
    """
    return _read(
        await client.send_async(
            request(
                id=id,
            )
        )
    )
