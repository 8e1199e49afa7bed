from typing import Any

import httpx

from ...client import Client
from ...models.config_schema import ConfigSchema


def request() -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/fleet/schema",
    }
    return _kwargs


def _read(response: httpx.Response) -> ConfigSchema:
    if response.status_code == 200:
        response_200 = ConfigSchema.from_dict(response.json())

        return response_200

    raise Client.unexpected(response)


def sync(
    *,
    client: Client,
) -> ConfigSchema:
    """Read the schema that configs must fit."""
    return _read(client.send(request()))


async def asyncio(
    *,
    client: Client,
) -> ConfigSchema:
    """Read the schema that configs must fit."""
    return _read(await client.send_async(request()))
