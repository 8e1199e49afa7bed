from typing import Any, cast
from urllib.parse import quote

import httpx

from ...client import Client


def request(
    id: str,
    key_id: str,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""

    _kwargs: dict[str, Any] = {
        "method": "delete",
        "url": "/v1/tenants/{id}/keys/{key_id}".format(
            id=quote(str(id), safe=""),
            key_id=quote(str(key_id), safe=""),
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
    key_id: str,
    *,
    client: Client,
) -> None:
    """Revoke a key.

    It stops working at once.

    Args:
        id (str):
        key_id (str):
    """
    return _read(
        client.send(
            request(
                id=id,
                key_id=key_id,
            )
        )
    )


async def asyncio(
    id: str,
    key_id: str,
    *,
    client: Client,
) -> None:
    """Revoke a key.

    It stops working at once.

    Args:
        id (str):
        key_id (str):
    """
    return _read(
        await client.send_async(
            request(
                id=id,
                key_id=key_id,
            )
        )
    )
