from typing import Any
from urllib.parse import quote

import httpx

from ...client import Client
from ...models.keys import Keys
from ...types import UNSET, Unset


def request(
    id: str,
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
        "url": "/v1/tenants/{id}/keys".format(
            id=quote(str(id), safe=""),
        ),
        "params": params,
    }
    return _kwargs


def _read(response: httpx.Response) -> Keys:
    if response.status_code == 200:
        response_200 = Keys.from_dict(response.json())

        return response_200

    raise Client.unexpected(response)


def sync(
    id: str,
    *,
    client: Client,
    limit: int | Unset = UNSET,
    cursor: str | Unset = UNSET,
) -> Keys:
    """List a tenant's keys.

    Newest first, without the secrets.

    Args:
        id (str):
        limit (int | Unset):
        cursor (str | Unset):
    """
    return _read(
        client.send(
            request(
                id=id,
                limit=limit,
                cursor=cursor,
            )
        )
    )


async def asyncio(
    id: str,
    *,
    client: Client,
    limit: int | Unset = UNSET,
    cursor: str | Unset = UNSET,
) -> Keys:
    """List a tenant's keys.

    Newest first, without the secrets.

    Args:
        id (str):
        limit (int | Unset):
        cursor (str | Unset):
    """
    return _read(
        await client.send_async(
            request(
                id=id,
                limit=limit,
                cursor=cursor,
            )
        )
    )
