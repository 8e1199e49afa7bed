from typing import Any
from urllib.parse import quote

import httpx

from ...client import Client
from ...models.turn import Turn


def request(
    id: str,
    turn_id: str,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/threads/{id}/turns/{turn_id}".format(
            id=quote(str(id), safe=""),
            turn_id=quote(str(turn_id), safe=""),
        ),
    }
    return _kwargs


def _read(response: httpx.Response) -> Turn:
    if response.status_code == 200:
        response_200 = Turn.from_dict(response.json())

        return response_200

    raise Client.unexpected(response)


def sync(
    id: str,
    turn_id: str,
    *,
    client: Client,
) -> Turn:
    """Read one turn.

    Args:
        id (str):
        turn_id (str):
    """
    return _read(
        client.send(
            request(
                id=id,
                turn_id=turn_id,
            )
        )
    )


async def asyncio(
    id: str,
    turn_id: str,
    *,
    client: Client,
) -> Turn:
    """Read one turn.

    Args:
        id (str):
        turn_id (str):
    """
    return _read(
        await client.send_async(
            request(
                id=id,
                turn_id=turn_id,
            )
        )
    )
