from typing import Any

import httpx

from ...client import Client
from ...models.agent_demand import AgentDemand
from ...types import UNSET, Unset


def request(
    *,
    revision: str | Unset = UNSET,
    wait_seconds: int | Unset = UNSET,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""

    params: dict[str, Any] = {}

    params["revision"] = revision

    params["wait_seconds"] = wait_seconds

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/agents/demand",
        "params": params,
    }
    return _kwargs


def _read(response: httpx.Response) -> AgentDemand:
    if response.status_code == 200:
        response_200 = AgentDemand.from_dict(response.json())

        return response_200

    raise Client.unexpected(response)


def sync(
    *,
    client: Client,
    revision: str | Unset = UNSET,
    wait_seconds: int | Unset = UNSET,
) -> AgentDemand:
    """Which threads have open turns (scope admin).

    Of all tenants, each with its first open turn: one entry for each thread that has any, however many
    they are. With `revision` and `wait_seconds` the answer is held as long as it would say the same
    (long-poll). Turns that nobody was asked for, as an agent said them of itself, want nobody.

    Args:
        revision (str | Unset):
        wait_seconds (int | Unset):
    """
    return _read(
        client.send(
            request(
                revision=revision,
                wait_seconds=wait_seconds,
            )
        )
    )


async def asyncio(
    *,
    client: Client,
    revision: str | Unset = UNSET,
    wait_seconds: int | Unset = UNSET,
) -> AgentDemand:
    """Which threads have open turns (scope admin).

    Of all tenants, each with its first open turn: one entry for each thread that has any, however many
    they are. With `revision` and `wait_seconds` the answer is held as long as it would say the same
    (long-poll). Turns that nobody was asked for, as an agent said them of itself, want nobody.

    Args:
        revision (str | Unset):
        wait_seconds (int | Unset):
    """
    return _read(
        await client.send_async(
            request(
                revision=revision,
                wait_seconds=wait_seconds,
            )
        )
    )
