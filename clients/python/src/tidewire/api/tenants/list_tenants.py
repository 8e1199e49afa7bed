from typing import Any

import httpx

from ...client import Client
from ...models.tenants import Tenants
from ...types import UNSET, Unset


def request(
    *,
    limit: int | Unset = UNSET,
    cursor: str | Unset = UNSET,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""

    params: dict[str, Any] = {}

    params["limit"] = limit

    params["cursor"] = cursor

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/tenants",
        "params": params,
    }
    return _kwargs


def _read(response: httpx.Response) -> Tenants:
    if response.status_code == 200:
        response_200 = Tenants.from_dict(response.json())

        return response_200

    raise Client.unexpected(response)


def sync(
    *,
    client: Client,
    limit: int | Unset = UNSET,
    cursor: str | Unset = UNSET,
) -> Tenants:
    """List tenants.

    Newest first.

    Args:
        limit (int | Unset):
        cursor (str | Unset):
    """
    return _read(
        client.send(
            request(
                limit=limit,
                cursor=cursor,
            )
        )
    )


async def asyncio(
    *,
    client: Client,
    limit: int | Unset = UNSET,
    cursor: str | Unset = UNSET,
) -> Tenants:
    """List tenants.

    Newest first.

    Args:
        limit (int | Unset):
        cursor (str | Unset):
    """
    return _read(
        await client.send_async(
            request(
                limit=limit,
                cursor=cursor,
            )
        )
    )
