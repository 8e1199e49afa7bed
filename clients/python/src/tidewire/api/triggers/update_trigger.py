from typing import Any
from urllib.parse import quote

import httpx

from ...client import Client
from ...models.trigger import Trigger
from ...models.trigger_edit import TriggerEdit


def request(
    id: str,
    *,
    body: TriggerEdit,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""
    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "put",
        "url": "/v1/triggers/{id}".format(
            id=quote(str(id), safe=""),
        ),
    }
    _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/json"
    _kwargs["headers"] = headers
    return _kwargs


def _read(response: httpx.Response) -> Trigger:
    if response.status_code == 200:
        response_200 = Trigger.from_dict(response.json())

        return response_200

    raise Client.unexpected(response)


def sync(
    id: str,
    *,
    client: Client,
    body: TriggerEdit,
) -> Trigger:
    """Change a trigger.

    Only firings from now on: what was fired before goes on by the config that it was fired with. A
    trigger that becomes active again follows its `misfire`. A 409 means that somebody else replaced
    the config at the same time.

    Args:
        id (str):
        body (TriggerEdit): What is to be changed; what is missing stays.
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
    body: TriggerEdit,
) -> Trigger:
    """Change a trigger.

    Only firings from now on: what was fired before goes on by the config that it was fired with. A
    trigger that becomes active again follows its `misfire`. A 409 means that somebody else replaced
    the config at the same time.

    Args:
        id (str):
        body (TriggerEdit): What is to be changed; what is missing stays.
    """
    return _read(
        await client.send_async(
            request(
                id=id,
                body=body,
            )
        )
    )
