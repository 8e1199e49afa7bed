from typing import Any

import httpx

from ...client import Client
from ...models.create_tenant import CreateTenant
from ...models.new_tenant import NewTenant


def request(
    *,
    body: CreateTenant,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""
    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/tenants",
    }
    _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/json"
    _kwargs["headers"] = headers
    return _kwargs


def _read(response: httpx.Response) -> NewTenant:
    if response.status_code == 201:
        response_201 = NewTenant.from_dict(response.json())

        return response_201

    raise Client.unexpected(response)


def sync(
    *,
    client: Client,
    body: CreateTenant,
) -> NewTenant:
    """Make a tenant.

    The answer holds its first key, which is shown only here.

    Args:
        body (CreateTenant):
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
    body: CreateTenant,
) -> NewTenant:
    """Make a tenant.

    The answer holds its first key, which is shown only here.

    Args:
        body (CreateTenant):
    """
    return _read(
        await client.send_async(
            request(
                body=body,
            )
        )
    )
