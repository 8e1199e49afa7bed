from typing import Any

import httpx

from ...client import Client
from ...models.agent_leases_held import AgentLeasesHeld
from ...models.hold_agent_leases import HoldAgentLeases


def request(
    *,
    body: HoldAgentLeases,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""
    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/agents/leases",
    }
    _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/json"
    _kwargs["headers"] = headers
    return _kwargs


def _read(response: httpx.Response) -> AgentLeasesHeld:
    if response.status_code == 200:
        response_200 = AgentLeasesHeld.from_dict(response.json())

        return response_200

    raise Client.unexpected(response)


def sync(
    *,
    client: Client,
    body: HoldAgentLeases,
) -> AgentLeasesHeld:
    """Make leases of agents' instances, or go on with them (scope admin).

    Each is held or refused by itself. For an unknown `worker` a lease is made, with the key of its instance
    (scope `agent`), which is shown only here; a known one is renewed, and its key with it, and gets the thread
    if it had none. Refused is a thread that another instance has, another thread than the instance's own, and
    a tenant that is unknown. One that has expired is renewed too, unless another instance has its thread by
    now: to that it has given way as one that is lost.

    The turns of a leased thread are kept for its instance until the lease ends, as far as they name its agent.

    Args:
        body (HoldAgentLeases):
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
    body: HoldAgentLeases,
) -> AgentLeasesHeld:
    """Make leases of agents' instances, or go on with them (scope admin).

    Each is held or refused by itself. For an unknown `worker` a lease is made, with the key of its instance
    (scope `agent`), which is shown only here; a known one is renewed, and its key with it, and gets the thread
    if it had none. Refused is a thread that another instance has, another thread than the instance's own, and
    a tenant that is unknown. One that has expired is renewed too, unless another instance has its thread by
    now: to that it has given way as one that is lost.

    The turns of a leased thread are kept for its instance until the lease ends, as far as they name its agent.

    Args:
        body (HoldAgentLeases):
    """
    return _read(
        await client.send_async(
            request(
                body=body,
            )
        )
    )
