from typing import Any

import httpx

from ...client import Client
from ...models.new_site import NewSite
from ...models.site import Site


def request(
    *,
    body: NewSite,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""
    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/sites",
    }
    _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/json"
    _kwargs["headers"] = headers
    return _kwargs


def _read(response: httpx.Response) -> Site:
    if response.status_code == 200:
        response_200 = Site.from_dict(response.json())

        return response_200

    if response.status_code == 201:
        response_201 = Site.from_dict(response.json())

        return response_201

    raise Client.unexpected(response)


def sync(
    *,
    client: Client,
    body: NewSite,
) -> Site:
    """Register a site, after its source has accepted the key.

    Registering it again replaces its key, URL and name, and makes it active.

    Args:
        body (NewSite): A site to be registered. Example: {'access_key': 'bk_…', 'base_url':
            'http://127.0.0.1:8081', 'site_id': 'site-01jz'}.
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
    body: NewSite,
) -> Site:
    """Register a site, after its source has accepted the key.

    Registering it again replaces its key, URL and name, and makes it active.

    Args:
        body (NewSite): A site to be registered. Example: {'access_key': 'bk_…', 'base_url':
            'http://127.0.0.1:8081', 'site_id': 'site-01jz'}.
    """
    return _read(
        await client.send_async(
            request(
                body=body,
            )
        )
    )
