from typing import Any

import httpx

from ...client import Client
from ...models.archive_page import ArchivePage
from ...types import UNSET, Unset


def request(
    *,
    stream: str | Unset = UNSET,
    cursor: str | Unset = UNSET,
    limit: int | Unset = UNSET,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""

    params: dict[str, Any] = {}

    params["stream"] = stream

    params["cursor"] = cursor

    params["limit"] = limit

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/archives",
        "params": params,
    }
    return _kwargs


def _read(response: httpx.Response) -> ArchivePage:
    if response.status_code == 200:
        response_200 = ArchivePage.from_dict(response.json())

        return response_200

    raise Client.unexpected(response)


def sync(
    *,
    client: Client,
    stream: str | Unset = UNSET,
    cursor: str | Unset = UNSET,
    limit: int | Unset = UNSET,
) -> ArchivePage:
    """List archives, newest first.

    Args:
        stream (str | Unset):
        cursor (str | Unset):
        limit (int | Unset):
    """
    return _read(
        client.send(
            request(
                stream=stream,
                cursor=cursor,
                limit=limit,
            )
        )
    )


async def asyncio(
    *,
    client: Client,
    stream: str | Unset = UNSET,
    cursor: str | Unset = UNSET,
    limit: int | Unset = UNSET,
) -> ArchivePage:
    """List archives, newest first.

    Args:
        stream (str | Unset):
        cursor (str | Unset):
        limit (int | Unset):
    """
    return _read(
        await client.send_async(
            request(
                stream=stream,
                cursor=cursor,
                limit=limit,
            )
        )
    )
