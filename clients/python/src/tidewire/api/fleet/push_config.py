from typing import Any

import httpx

from ...client import Client
from ...models.new_config import NewConfig
from ...models.pushed import Pushed


def request(
    *,
    body: NewConfig,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""
    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/fleet/config",
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
    body: NewConfig,
) -> Pushed:
    """Push a config.

    It becomes a version, which never changes. What a schema or the rules for servers' own settings
    do not allow is a 400.

    Args:
        body (NewConfig):
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
    body: NewConfig,
) -> Pushed:
    """Push a config.

    It becomes a version, which never changes. What a schema or the rules for servers' own settings
    do not allow is a 400.

    Args:
        body (NewConfig):
    """
    return _read(
        await client.send_async(
            request(
                body=body,
            )
        )
    )
