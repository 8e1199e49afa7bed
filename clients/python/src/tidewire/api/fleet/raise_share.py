from typing import Any
from urllib.parse import quote

import httpx

from ...client import Client
from ...models.raised_share import RaisedShare
from ...models.version import Version


def request(
    version: int,
    *,
    body: RaisedShare,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""
    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/fleet/config/versions/{version}/share".format(
            version=quote(str(version), safe=""),
        ),
    }
    _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/json"
    _kwargs["headers"] = headers
    return _kwargs


def _read(response: httpx.Response) -> Version:
    if response.status_code == 200:
        response_200 = Version.from_dict(response.json())

        return response_200

    raise Client.unexpected(response)


def sync(
    version: int,
    *,
    client: Client,
    body: RaisedShare,
) -> Version:
    """Raise a version's share.

    Those who have the version keep it, and more get it. A version with a gate is raised only while
    the gate lets it: everyone of its share who was seen lately has said how it went, and few enough
    have failed. Otherwise, and for a share that is not higher, a 409.

    Args:
        version (int):
        body (RaisedShare):
    """
    return _read(
        client.send(
            request(
                version=version,
                body=body,
            )
        )
    )


async def asyncio(
    version: int,
    *,
    client: Client,
    body: RaisedShare,
) -> Version:
    """Raise a version's share.

    Those who have the version keep it, and more get it. A version with a gate is raised only while
    the gate lets it: everyone of its share who was seen lately has said how it went, and few enough
    have failed. Otherwise, and for a share that is not higher, a 409.

    Args:
        version (int):
        body (RaisedShare):
    """
    return _read(
        await client.send_async(
            request(
                version=version,
                body=body,
            )
        )
    )
