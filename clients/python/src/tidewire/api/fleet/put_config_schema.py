from typing import Any, cast

import httpx

from ...client import Client
from ...models.config_schema import ConfigSchema


def request(
    *,
    body: ConfigSchema,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""
    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "put",
        "url": "/v1/fleet/schema",
    }
    _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/json"
    _kwargs["headers"] = headers
    return _kwargs


def _read(response: httpx.Response) -> None:
    if response.status_code == 204:
        response_204 = cast(Any, None)
        return response_204

    raise Client.unexpected(response)


def sync(
    *,
    client: Client,
    body: ConfigSchema,
) -> None:
    """Set the schema that configs must fit from now on.

    Args:
        body (ConfigSchema):
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
    body: ConfigSchema,
) -> None:
    """Set the schema that configs must fit from now on.

    Args:
        body (ConfigSchema):
    """
    return _read(
        await client.send_async(
            request(
                body=body,
            )
        )
    )
