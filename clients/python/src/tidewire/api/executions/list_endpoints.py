from typing import Any

import httpx

from ...client import Client
from ...models.endpoint_list import EndpointList


def request() -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/endpoints",
    }
    return _kwargs


def _read(response: httpx.Response) -> EndpointList:
    if response.status_code == 200:
        response_200 = EndpointList.from_dict(response.json())

        return response_200

    raise Client.unexpected(response)


def sync(
    *,
    client: Client,
) -> EndpointList:
    """List the endpoints that are not well: those whose circuit is open or half open.

    Nothing is sent to an endpoint while its circuit is open; deliveries wait. One that is not listed
    is well, or nothing was sent to it lately.
    """
    return _read(client.send(request()))


async def asyncio(
    *,
    client: Client,
) -> EndpointList:
    """List the endpoints that are not well: those whose circuit is open or half open.

    Nothing is sent to an endpoint while its circuit is open; deliveries wait. One that is not listed
    is well, or nothing was sent to it lately.
    """
    return _read(await client.send_async(request()))
