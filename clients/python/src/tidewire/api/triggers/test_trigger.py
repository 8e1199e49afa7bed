from typing import Any
from urllib.parse import quote

import httpx

from ...client import Client
from ...models.test_run import TestRun
from ...models.test_trigger import TestTrigger
from ...types import UNSET, Unset


def request(
    id: str,
    *,
    body: None | TestTrigger | Unset = UNSET,
    x_tidewire_depth: int | Unset = UNSET,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""
    headers: dict[str, Any] = {}
    if not isinstance(x_tidewire_depth, Unset):
        headers["x-tidewire-depth"] = str(x_tidewire_depth)

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/triggers/{id}/test".format(
            id=quote(str(id), safe=""),
        ),
    }

    if isinstance(body, TestTrigger):
        _kwargs["json"] = body.to_dict()
    else:
        _kwargs["json"] = body

    headers["Content-Type"] = "application/json"
    _kwargs["headers"] = headers
    return _kwargs


def _read(response: httpx.Response) -> TestRun:
    if response.status_code == 202:
        response_202 = TestRun.from_dict(response.json())

        return response_202

    raise Client.unexpected(response)


def sync(
    id: str,
    *,
    client: Client,
    body: None | TestTrigger | Unset = UNSET,
    x_tidewire_depth: int | Unset = UNSET,
) -> TestRun:
    """Fire a trigger once, as a test.

    Exactly one job; its execution has `is_test_run`, and no schedule knows of it. An inactive
    trigger can be tested too.

    Args:
        id (str):
        x_tidewire_depth (int | Unset):
        body (None | TestTrigger | Unset):
    """
    return _read(
        client.send(
            request(
                id=id,
                body=body,
                x_tidewire_depth=x_tidewire_depth,
            )
        )
    )


async def asyncio(
    id: str,
    *,
    client: Client,
    body: None | TestTrigger | Unset = UNSET,
    x_tidewire_depth: int | Unset = UNSET,
) -> TestRun:
    """Fire a trigger once, as a test.

    Exactly one job; its execution has `is_test_run`, and no schedule knows of it. An inactive
    trigger can be tested too.

    Args:
        id (str):
        x_tidewire_depth (int | Unset):
        body (None | TestTrigger | Unset):
    """
    return _read(
        await client.send_async(
            request(
                id=id,
                body=body,
                x_tidewire_depth=x_tidewire_depth,
            )
        )
    )
