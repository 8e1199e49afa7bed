from typing import Any
from urllib.parse import quote

import httpx

from ...client import Client
from ...models.version import Version


def request(
    version: int,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/fleet/config/versions/{version}".format(
            version=quote(str(version), safe=""),
        ),
    }
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
) -> Version:
    """Read one version.

    Args:
        version (int):
    """
    return _read(
        client.send(
            request(
                version=version,
            )
        )
    )


async def asyncio(
    version: int,
    *,
    client: Client,
) -> Version:
    """Read one version.

    Args:
        version (int):
    """
    return _read(
        await client.send_async(
            request(
                version=version,
            )
        )
    )
