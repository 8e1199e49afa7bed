from typing import Any

import httpx

from ...client import Client
from ...models.new_site_event import NewSiteEvent
from ...models.site_event import SiteEvent


def request(
    *,
    body: NewSiteEvent,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""
    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/site-events",
    }
    _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/json"
    _kwargs["headers"] = headers
    return _kwargs


def _read(response: httpx.Response) -> SiteEvent:
    if response.status_code == 200:
        response_200 = SiteEvent.from_dict(response.json())

        return response_200

    if response.status_code == 201:
        response_201 = SiteEvent.from_dict(response.json())

        return response_201

    raise Client.unexpected(response)


def sync(
    *,
    client: Client,
    body: NewSiteEvent,
) -> SiteEvent:
    """Record an event of a user.

    One with a `utm_source` is a touch: what syncs store of the user from then on carries the latest. If
    it happened before events that carry an earlier one, each of those is followed by one of the type
    `….corrected`.

    Args:
        body (NewSiteEvent): An event of a user. Example: {'user_id': 'usr_1', 'utm_source': 'newsletter'}.
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
    body: NewSiteEvent,
) -> SiteEvent:
    """Record an event of a user.

    One with a `utm_source` is a touch: what syncs store of the user from then on carries the latest. If
    it happened before events that carry an earlier one, each of those is followed by one of the type
    `….corrected`.

    Args:
        body (NewSiteEvent): An event of a user. Example: {'user_id': 'usr_1', 'utm_source': 'newsletter'}.
    """
    return _read(
        await client.send_async(
            request(
                body=body,
            )
        )
    )
