from typing import Any
from urllib.parse import quote

import httpx

from ...client import Client
from ...models.turn_page import TurnPage
from ...types import UNSET, Unset


def request(
    id: str,
    *,
    cursor: str | Unset = UNSET,
    limit: int | Unset = UNSET,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""

    params: dict[str, Any] = {}

    params["cursor"] = cursor

    params["limit"] = limit

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/threads/{id}/turns".format(
            id=quote(str(id), safe=""),
        ),
        "params": params,
    }
    return _kwargs


def _read(response: httpx.Response) -> TurnPage:
    if response.status_code == 200:
        response_200 = TurnPage.from_dict(response.json())

        return response_200

    raise Client.unexpected(response)


def sync(
    id: str,
    *,
    client: Client,
    cursor: str | Unset = UNSET,
    limit: int | Unset = UNSET,
) -> TurnPage:
    """List a thread's turns, newest first.

    Args:
        id (str):
        cursor (str | Unset):
        limit (int | Unset):
    """
    return _read(
        client.send(
            request(
                id=id,
                cursor=cursor,
                limit=limit,
            )
        )
    )


async def asyncio(
    id: str,
    *,
    client: Client,
    cursor: str | Unset = UNSET,
    limit: int | Unset = UNSET,
) -> TurnPage:
    """List a thread's turns, newest first.

    Args:
        id (str):
        cursor (str | Unset):
        limit (int | Unset):
    """
    return _read(
        await client.send_async(
            request(
                id=id,
                cursor=cursor,
                limit=limit,
            )
        )
    )
