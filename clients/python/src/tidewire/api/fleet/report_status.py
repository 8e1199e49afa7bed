from typing import Any, cast
from urllib.parse import quote

import httpx

from ...client import Client
from ...models.agent_status import AgentStatus


def request(
    id: str,
    *,
    body: AgentStatus,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""
    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/fleet/agents/{id}/status".format(
            id=quote(str(id), safe=""),
        ),
    }
    _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/json"
    _kwargs["headers"] = headers
    return _kwargs


def _read(response: httpx.Response) -> None:
    if response.status_code == 204:
        response_204 = cast(Any, None)
        return response_204

    raise Client.unexpected(response)


def sync(
    id: str,
    *,
    client: Client,
    body: AgentStatus,
) -> None:
    """Say how a version went.

    Args:
        id (str):
        body (AgentStatus):
    """
    return _read(
        client.send(
            request(
                id=id,
                body=body,
            )
        )
    )


async def asyncio(
    id: str,
    *,
    client: Client,
    body: AgentStatus,
) -> None:
    """Say how a version went.

    Args:
        id (str):
        body (AgentStatus):
    """
    return _read(
        await client.send_async(
            request(
                id=id,
                body=body,
            )
        )
    )
