from typing import Any

import httpx

from ...client import Client
from ...models.agent_list import AgentList
from ...types import UNSET, Unset


def request(
    *,
    cursor: str | Unset = UNSET,
    limit: int | Unset = UNSET,
    servers: bool | Unset = UNSET,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""

    params: dict[str, Any] = {}

    params["cursor"] = cursor

    params["limit"] = limit

    params["servers"] = servers

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/fleet/agents",
        "params": params,
    }
    return _kwargs


def _read(response: httpx.Response) -> AgentList:
    if response.status_code == 200:
        response_200 = AgentList.from_dict(response.json())

        return response_200

    raise Client.unexpected(response)


def sync(
    *,
    client: Client,
    cursor: str | Unset = UNSET,
    limit: int | Unset = UNSET,
    servers: bool | Unset = UNSET,
) -> AgentList:
    """List agents, those first that registered last.

    Args:
        cursor (str | Unset):
        limit (int | Unset):
        servers (bool | Unset):
    """
    return _read(
        client.send(
            request(
                cursor=cursor,
                limit=limit,
                servers=servers,
            )
        )
    )


async def asyncio(
    *,
    client: Client,
    cursor: str | Unset = UNSET,
    limit: int | Unset = UNSET,
    servers: bool | Unset = UNSET,
) -> AgentList:
    """List agents, those first that registered last.

    Args:
        cursor (str | Unset):
        limit (int | Unset):
        servers (bool | Unset):
    """
    return _read(
        await client.send_async(
            request(
                cursor=cursor,
                limit=limit,
                servers=servers,
            )
        )
    )
