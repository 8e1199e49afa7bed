from typing import Any
from urllib.parse import quote

import httpx

from ...client import Client
from ...models.execution import Execution


def request(
    id: str,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/executions/{id}".format(
            id=quote(str(id), safe=""),
        ),
    }
    return _kwargs


def _read(response: httpx.Response) -> Execution:
    if response.status_code == 200:
        response_200 = Execution.from_dict(response.json())

        return response_200

    raise Client.unexpected(response)


def sync(
    id: str,
    *,
    client: Client,
) -> Execution:
    """Read one execution, active or archived, with its attempts.

    Args:
        id (str):
    """
    return _read(
        client.send(
            request(
                id=id,
            )
        )
    )


async def asyncio(
    id: str,
    *,
    client: Client,
) -> Execution:
    """Read one execution, active or archived, with its attempts.

    Args:
        id (str):
    """
    return _read(
        await client.send_async(
            request(
                id=id,
            )
        )
    )
