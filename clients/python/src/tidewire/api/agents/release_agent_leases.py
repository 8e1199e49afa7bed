from typing import Any

import httpx

from ...client import Client
from ...models.agent_leases_released import AgentLeasesReleased
from ...models.release_agent_leases import ReleaseAgentLeases


def request(
    *,
    body: ReleaseAgentLeases,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""
    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/agents/leases/release",
    }
    _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/json"
    _kwargs["headers"] = headers
    return _kwargs


def _read(response: httpx.Response) -> AgentLeasesReleased:
    if response.status_code == 200:
        response_200 = AgentLeasesReleased.from_dict(response.json())

        return response_200

    raise Client.unexpected(response)


def sync(
    *,
    client: Client,
    body: ReleaseAgentLeases,
) -> AgentLeasesReleased:
    """End leases of agents' instances (scope admin).

    A lease whose thread has an open turn for the instance is `busy`, and goes on. One that is `lost` ends
    whatever runs: the attempt that the instance has in hand is consumed, and its turn is everybody's at once.
    The key ends with the lease.

    Args:
        body (ReleaseAgentLeases):
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
    body: ReleaseAgentLeases,
) -> AgentLeasesReleased:
    """End leases of agents' instances (scope admin).

    A lease whose thread has an open turn for the instance is `busy`, and goes on. One that is `lost` ends
    whatever runs: the attempt that the instance has in hand is consumed, and its turn is everybody's at once.
    The key ends with the lease.

    Args:
        body (ReleaseAgentLeases):
    """
    return _read(
        await client.send_async(
            request(
                body=body,
            )
        )
    )
