from typing import Any

import httpx

from ...client import Client
from ...models.preview import Preview
from ...models.preview_trigger import PreviewTrigger


def request(
    *,
    body: PreviewTrigger,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""
    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/triggers/preview",
    }
    _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/json"
    _kwargs["headers"] = headers
    return _kwargs


def _read(response: httpx.Response) -> Preview:
    if response.status_code == 200:
        response_200 = Preview.from_dict(response.json())

        return response_200

    raise Client.unexpected(response)


def sync(
    *,
    client: Client,
    body: PreviewTrigger,
) -> Preview:
    """Say when a trigger would fire.

    Nothing is stored. The answer shows what a pattern means, clock changes included.

    Args:
        body (PreviewTrigger): A trigger that is not stored, and how far to look ahead. Example: {'config':
            {'cron': '0 2 * * *', 'endpoint': 'https://hooks.example/in', 'timezone': 'Europe/Berlin'}, 'count':
            3, 'type': 'cron_scheduled'}.
    """
    return _read(
        client.send(
            request(
                body=body,
            )
        )
    )


async def asyncio(
    *,
    client: Client,
    body: PreviewTrigger,
) -> Preview:
    """Say when a trigger would fire.

    Nothing is stored. The answer shows what a pattern means, clock changes included.

    Args:
        body (PreviewTrigger): A trigger that is not stored, and how far to look ahead. Example: {'config':
            {'cron': '0 2 * * *', 'endpoint': 'https://hooks.example/in', 'timezone': 'Europe/Berlin'}, 'count':
            3, 'type': 'cron_scheduled'}.
    """
    return _read(
        await client.send_async(
            request(
                body=body,
            )
        )
    )
