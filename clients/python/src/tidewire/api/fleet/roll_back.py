from typing import Any

import httpx

from ...client import Client
from ...models.pushed import Pushed
from ...models.rollback import Rollback


def request(
    *,
    body: Rollback,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""
    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/fleet/config/rollback",
    }
    _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/json"
    _kwargs["headers"] = headers
    return _kwargs


def _read(response: httpx.Response) -> Pushed:
    if response.status_code == 201:
        response_201 = Pushed.from_dict(response.json())

        return response_201

    raise Client.unexpected(response)


def sync(
    *,
    client: Client,
    body: Rollback,
) -> Pushed:
    """Go back to an older version's config.

    It becomes a new version, for everyone who has its labels.

    Args:
        body (Rollback):
    """
    return _read(
        client.send(
            request(
                body=body,
            )
        )
    )


async def asyncio(
    *,
    client: Client,
    body: Rollback,
) -> Pushed:
    """Go back to an older version's config.

    It becomes a new version, for everyone who has its labels.

    Args:
        body (Rollback):
    """
    return _read(
        await client.send_async(
            request(
                body=body,
            )
        )
    )
