from typing import Any

import httpx

from ...client import Client
from ...models.test_config import TestConfig
from ...models.test_run import TestRun
from ...types import UNSET, Unset


def request(
    *,
    body: TestConfig,
    x_tidewire_depth: int | Unset = UNSET,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""
    headers: dict[str, Any] = {}
    if not isinstance(x_tidewire_depth, Unset):
        headers["x-tidewire-depth"] = str(x_tidewire_depth)

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/triggers/test",
    }
    _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/json"
    _kwargs["headers"] = headers
    return _kwargs


def _read(response: httpx.Response) -> TestRun:
    if response.status_code == 202:
        response_202 = TestRun.from_dict(response.json())

        return response_202

    raise Client.unexpected(response)


def sync(
    *,
    client: Client,
    body: TestConfig,
    x_tidewire_depth: int | Unset = UNSET,
) -> TestRun:
    """Fire a trigger once that is not stored, as a test.

    Its execution has no `trigger_id`.

    Args:
        x_tidewire_depth (int | Unset):
        body (TestConfig): A trigger that is not stored, and what its test delivers. Example: {'config':
            {'endpoint': 'https://hooks.example/in'}, 'payload': {'id': 1}, 'type': 'webhook'}.
    """
    return _read(
        client.send(
            request(
                body=body,
                x_tidewire_depth=x_tidewire_depth,
            )
        )
    )


async def asyncio(
    *,
    client: Client,
    body: TestConfig,
    x_tidewire_depth: int | Unset = UNSET,
) -> TestRun:
    """Fire a trigger once that is not stored, as a test.

    Its execution has no `trigger_id`.

    Args:
        x_tidewire_depth (int | Unset):
        body (TestConfig): A trigger that is not stored, and what its test delivers. Example: {'config':
            {'endpoint': 'https://hooks.example/in'}, 'payload': {'id': 1}, 'type': 'webhook'}.
    """
    return _read(
        await client.send_async(
            request(
                body=body,
                x_tidewire_depth=x_tidewire_depth,
            )
        )
    )
