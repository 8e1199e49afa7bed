from typing import Any
from urllib.parse import quote

import httpx

from ...client import Client
from ...models.mint_key import MintKey
from ...models.new_key import NewKey
from ...types import UNSET, Unset


def request(
    id: str,
    *,
    body: MintKey | None | Unset = UNSET,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""
    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/tenants/{id}/keys".format(
            id=quote(str(id), safe=""),
        ),
    }

    if isinstance(body, MintKey):
        _kwargs["json"] = body.to_dict()
    else:
        _kwargs["json"] = body

    headers["Content-Type"] = "application/json"
    _kwargs["headers"] = headers
    return _kwargs


def _read(response: httpx.Response) -> NewKey:
    if response.status_code == 201:
        response_201 = NewKey.from_dict(response.json())

        return response_201

    raise Client.unexpected(response)


def sync(
    id: str,
    *,
    client: Client,
    body: MintKey | None | Unset = UNSET,
) -> NewKey:
    """Mint a key.

    The key is shown only here. A key with the scope `admin` is the operator's, whichever tenant it
    is listed under: it acts on tenant `default` unless `X-Tenant` names another.

    Args:
        id (str):
        body (MintKey | None | Unset):
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
    body: MintKey | None | Unset = UNSET,
) -> NewKey:
    """Mint a key.

    The key is shown only here. A key with the scope `admin` is the operator's, whichever tenant it
    is listed under: it acts on tenant `default` unless `X-Tenant` names another.

    Args:
        id (str):
        body (MintKey | None | Unset):
    """
    return _read(
        await client.send_async(
            request(
                id=id,
                body=body,
            )
        )
    )
