from typing import Any
from urllib.parse import quote

import httpx

from ...client import Client, new_idempotency_key
from ...models.webhook_call import WebhookCall
from ...types import UNSET, Unset


def request(
    trigger_id: str,
    *,
    body: Any | Unset = UNSET,
    idempotency_key: str | Unset = UNSET,
    x_tidewire_depth: int | Unset = UNSET,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""
    headers: dict[str, Any] = {}
    if not isinstance(idempotency_key, Unset):
        headers["Idempotency-Key"] = idempotency_key

    if not isinstance(x_tidewire_depth, Unset):
        headers["x-tidewire-depth"] = str(x_tidewire_depth)

    headers.setdefault("Idempotency-Key", new_idempotency_key())

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/webhook/{trigger_id}".format(
            trigger_id=quote(str(trigger_id), safe=""),
        ),
    }
    if not isinstance(body, Unset):
        _kwargs["json"] = body

    headers["Content-Type"] = "application/json"
    _kwargs["headers"] = headers
    return _kwargs


def _read(response: httpx.Response) -> WebhookCall:
    if response.status_code == 202:
        response_202 = WebhookCall.from_dict(response.json())

        return response_202

    raise Client.unexpected(response)


def sync(
    trigger_id: str,
    *,
    client: Client,
    body: Any | Unset = UNSET,
    idempotency_key: str | Unset = UNSET,
    x_tidewire_depth: int | Unset = UNSET,
) -> WebhookCall:
    """Call a webhook.

    The body is any JSON of at most 256 KiB (also of a type such as `application/cloudevents+json`);
    an empty one counts as `{}`. It must keep to the trigger's `schema`: `errors` has an entry for
    each violation, and nothing is stored. Answered once the commit is durable. No key is needed
    unless the trigger's config has `require_key`; then one of its tenant that may write. The header
    `Idempotency-Key` says that this is the same call as before, and gives its answer again for 24
    hours, marked by the header `Idempotent-Replayed`.

    Args:
        trigger_id (str):
        idempotency_key (str | Unset):
        x_tidewire_depth (int | Unset):
        body (Any | Unset):
    """
    return _read(
        client.send(
            request(
                trigger_id=trigger_id,
                body=body,
                idempotency_key=idempotency_key,
                x_tidewire_depth=x_tidewire_depth,
            )
        )
    )


async def asyncio(
    trigger_id: str,
    *,
    client: Client,
    body: Any | Unset = UNSET,
    idempotency_key: str | Unset = UNSET,
    x_tidewire_depth: int | Unset = UNSET,
) -> WebhookCall:
    """Call a webhook.

    The body is any JSON of at most 256 KiB (also of a type such as `application/cloudevents+json`);
    an empty one counts as `{}`. It must keep to the trigger's `schema`: `errors` has an entry for
    each violation, and nothing is stored. Answered once the commit is durable. No key is needed
    unless the trigger's config has `require_key`; then one of its tenant that may write. The header
    `Idempotency-Key` says that this is the same call as before, and gives its answer again for 24
    hours, marked by the header `Idempotent-Replayed`.

    Args:
        trigger_id (str):
        idempotency_key (str | Unset):
        x_tidewire_depth (int | Unset):
        body (Any | Unset):
    """
    return _read(
        await client.send_async(
            request(
                trigger_id=trigger_id,
                body=body,
                idempotency_key=idempotency_key,
                x_tidewire_depth=x_tidewire_depth,
            )
        )
    )
