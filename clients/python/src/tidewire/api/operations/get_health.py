from typing import Any

import httpx

from ...client import Client
from ...models.health_report import HealthReport


def request() -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/health",
    }
    return _kwargs


def _read(response: httpx.Response) -> HealthReport:
    if response.status_code == 200:
        response_200 = HealthReport.from_dict(response.json())

        return response_200

    raise Client.unexpected(response)


def sync(
    *,
    client: Client,
) -> HealthReport:
    """Whether the process lives, and each of its dependencies."""
    return _read(client.send(request()))


async def asyncio(
    *,
    client: Client,
) -> HealthReport:
    """Whether the process lives, and each of its dependencies."""
    return _read(await client.send_async(request()))
