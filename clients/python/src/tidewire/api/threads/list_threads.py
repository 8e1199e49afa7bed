from typing import Any

import httpx

from ...client import Client
from ...models.thread_page import ThreadPage
from ...types import UNSET, Unset


def request(
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
        "url": "/v1/threads",
        "params": params,
    }
    return _kwargs


def _read(response: httpx.Response) -> ThreadPage:
    if response.status_code == 200:
        response_200 = ThreadPage.from_dict(response.json())

        return response_200

    raise Client.unexpected(response)


def sync(
    *,
    client: Client,
    cursor: str | Unset = UNSET,
    limit: int | Unset = UNSET,
) -> ThreadPage:
    """List threads, newest first.

    Args:
        cursor (str | Unset):
        limit (int | Unset):
    """
    return _read(
        client.send(
            request(
                cursor=cursor,
                limit=limit,
            )
        )
    )


async def asyncio(
    *,
    client: Client,
    cursor: str | Unset = UNSET,
    limit: int | Unset = UNSET,
) -> ThreadPage:
    """List threads, newest first.

    Args:
        cursor (str | Unset):
        limit (int | Unset):
    """
    return _read(
        await client.send_async(
            request(
                cursor=cursor,
                limit=limit,
            )
        )
    )
