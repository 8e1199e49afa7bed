from typing import Any

import httpx

from ...client import Client
from ...models.config_answer import ConfigAnswer
from ...types import UNSET, Unset


def request(
    *,
    agent_id: str | Unset = UNSET,
    wait: int | Unset = UNSET,
    revision: int | Unset = UNSET,
    if_none_match: str | Unset = UNSET,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""
    headers: dict[str, Any] = {}
    if not isinstance(if_none_match, Unset):
        headers["If-None-Match"] = if_none_match

    params: dict[str, Any] = {}

    params["agent_id"] = agent_id

    params["wait"] = wait

    params["revision"] = revision

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/fleet/config",
        "params": params,
    }
    _kwargs["headers"] = headers
    return _kwargs


def _read(response: httpx.Response) -> ConfigAnswer:
    if response.status_code == 200:
        response_200 = ConfigAnswer.from_dict(response.json())

        return response_200

    raise Client.unexpected(response)


def sync(
    *,
    client: Client,
    agent_id: str | Unset = UNSET,
    wait: int | Unset = UNSET,
    revision: int | Unset = UNSET,
    if_none_match: str | Unset = UNSET,
) -> ConfigAnswer:
    """Ask for the config.

    With `If-None-Match` a config that the asker has already is a 304.

    Args:
        agent_id (str | Unset):
        wait (int | Unset):
        revision (int | Unset):
        if_none_match (str | Unset):
    """
    return _read(
        client.send(
            request(
                agent_id=agent_id,
                wait=wait,
                revision=revision,
                if_none_match=if_none_match,
            )
        )
    )


async def asyncio(
    *,
    client: Client,
    agent_id: str | Unset = UNSET,
    wait: int | Unset = UNSET,
    revision: int | Unset = UNSET,
    if_none_match: str | Unset = UNSET,
) -> ConfigAnswer:
    """Ask for the config.

    With `If-None-Match` a config that the asker has already is a 304.

    Args:
        agent_id (str | Unset):
        wait (int | Unset):
        revision (int | Unset):
        if_none_match (str | Unset):
    """
    return _read(
        await client.send_async(
            request(
                agent_id=agent_id,
                wait=wait,
                revision=revision,
                if_none_match=if_none_match,
            )
        )
    )
