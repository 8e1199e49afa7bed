from typing import Any

import httpx

from ...client import Client
from ...models.new_fleet_agent import NewFleetAgent
from ...models.registered import Registered


def request(
    *,
    body: NewFleetAgent,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""
    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/fleet/register",
    }
    _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/json"
    _kwargs["headers"] = headers
    return _kwargs


def _read(response: httpx.Response) -> Registered:
    if response.status_code == 201:
        response_201 = Registered.from_dict(response.json())

        return response_201

    raise Client.unexpected(response)


def sync(
    *,
    client: Client,
    body: NewFleetAgent,
) -> Registered:
    """Register an agent.

    An agent that names itself keeps its id, and its name and labels become what it says now.

    Args:
        body (NewFleetAgent):
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
    body: NewFleetAgent,
) -> Registered:
    """Register an agent.

    An agent that names itself keeps its id, and its name and labels become what it says now.

    Args:
        body (NewFleetAgent):
    """
    return _read(
        await client.send_async(
            request(
                body=body,
            )
        )
    )
