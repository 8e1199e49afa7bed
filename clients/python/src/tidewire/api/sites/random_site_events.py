from typing import Any

import httpx

from ...client import Client
from ...models.made_up import MadeUp
from ...models.random_site_events import RandomSiteEvents
from ...types import UNSET, Unset


def request(
    *,
    body: None | RandomSiteEvents | Unset = UNSET,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""
    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/site-events/random",
    }

    if isinstance(body, RandomSiteEvents):
        _kwargs["json"] = body.to_dict()
    else:
        _kwargs["json"] = body

    headers["Content-Type"] = "application/json"
    _kwargs["headers"] = headers
    return _kwargs


def _read(response: httpx.Response) -> MadeUp:
    if response.status_code == 201:
        response_201 = MadeUp.from_dict(response.json())

        return response_201

    raise Client.unexpected(response)


def sync(
    *,
    client: Client,
    body: None | RandomSiteEvents | Unset = UNSET,
) -> MadeUp:
    """Make attributions up, for trying things out.

    Args:
        body (None | RandomSiteEvents | Unset):
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
    body: None | RandomSiteEvents | Unset = UNSET,
) -> MadeUp:
    """Make attributions up, for trying things out.

    Args:
        body (None | RandomSiteEvents | Unset):
    """
    return _read(
        await client.send_async(
            request(
                body=body,
            )
        )
    )
