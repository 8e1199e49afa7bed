from typing import Any

import httpx

from ...client import Client
from ...models.agent_lease_page import AgentLeasePage
from ...types import UNSET, Unset


def request(
    *,
    cursor: str | Unset = UNSET,
    limit: int | Unset = UNSET,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""

    params: dict[str, Any] = {}

    params["cursor"] = cursor

    params["limit"] = limit

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/agents/leases",
        "params": params,
    }
    return _kwargs


def _read(response: httpx.Response) -> AgentLeasePage:
    if response.status_code == 200:
        response_200 = AgentLeasePage.from_dict(response.json())

        return response_200

    raise Client.unexpected(response)


def sync(
    *,
    client: Client,
    cursor: str | Unset = UNSET,
    limit: int | Unset = UNSET,
) -> AgentLeasePage:
    """List leases of agents' instances, newest first (scope admin).

    Of all tenants, also those that have expired; these are forgotten after an hour.

    Args:
        cursor (str | Unset):
        limit (int | Unset):
    """
    return _read(
        client.send(
            request(
                cursor=cursor,
                limit=limit,
            )
        )
    )


async def asyncio(
    *,
    client: Client,
    cursor: str | Unset = UNSET,
    limit: int | Unset = UNSET,
) -> AgentLeasePage:
    """List leases of agents' instances, newest first (scope admin).

    Of all tenants, also those that have expired; these are forgotten after an hour.

    Args:
        cursor (str | Unset):
        limit (int | Unset):
    """
    return _read(
        await client.send_async(
            request(
                cursor=cursor,
                limit=limit,
            )
        )
    )
