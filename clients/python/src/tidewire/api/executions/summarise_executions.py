from typing import Any

import httpx

from ...client import Client
from ...models.execution_summary import ExecutionSummary
from ...types import UNSET, Unset


def request(
    *,
    hours: int | Unset = UNSET,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""

    params: dict[str, Any] = {}

    params["hours"] = hours

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/executions/summary",
        "params": params,
    }
    return _kwargs


def _read(response: httpx.Response) -> ExecutionSummary:
    if response.status_code == 200:
        response_200 = ExecutionSummary.from_dict(response.json())

        return response_200

    raise Client.unexpected(response)


def sync(
    *,
    client: Client,
    hours: int | Unset = UNSET,
) -> ExecutionSummary:
    """Count the executions of the last hours, by trigger and status.

    Args:
        hours (int | Unset):
    """
    return _read(
        client.send(
            request(
                hours=hours,
            )
        )
    )


async def asyncio(
    *,
    client: Client,
    hours: int | Unset = UNSET,
) -> ExecutionSummary:
    """Count the executions of the last hours, by trigger and status.

    Args:
        hours (int | Unset):
    """
    return _read(
        await client.send_async(
            request(
                hours=hours,
            )
        )
    )
