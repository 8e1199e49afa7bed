from typing import Any
from urllib.parse import quote

import httpx

from ...client import Client
from ...models.attribution import Attribution


def request(
    id: str,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/subjects/{id}/attribution".format(
            id=quote(str(id), safe=""),
        ),
    }
    return _kwargs


def _read(response: httpx.Response) -> Attribution:
    if response.status_code == 200:
        response_200 = Attribution.from_dict(response.json())

        return response_200

    raise Client.unexpected(response)


def sync(
    id: str,
    *,
    client: Client,
) -> Attribution:
    """Where a user came from, first and last.

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
) -> Attribution:
    """Where a user came from, first and last.

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
