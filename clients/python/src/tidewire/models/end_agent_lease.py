from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="EndAgentLease")


@_attrs_define
class EndAgentLease:
    """A lease that is to end."""

    worker: str
    tenant_id: None | str | Unset = UNSET
    """ `default` if it is missing. """
    lost: bool | None | Unset = UNSET
    """ The instance is gone, or must give up what it runs. """

    def to_dict(self) -> dict[str, Any]:
        worker = self.worker

        tenant_id: None | str | Unset
        if isinstance(self.tenant_id, Unset):
            tenant_id = UNSET
        else:
            tenant_id = self.tenant_id

        lost: bool | None | Unset
        if isinstance(self.lost, Unset):
            lost = UNSET
        else:
            lost = self.lost

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "worker": worker,
            }
        )
        if tenant_id is not UNSET:
            field_dict["tenant_id"] = tenant_id
        if lost is not UNSET:
            field_dict["lost"] = lost

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        worker = d.pop("worker")

        def _parse_tenant_id(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        tenant_id = _parse_tenant_id(d.pop("tenant_id", UNSET))

        def _parse_lost(data: object) -> bool | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(bool | None | Unset, data)

        lost = _parse_lost(d.pop("lost", UNSET))

        end_agent_lease = cls(
            worker=worker,
            tenant_id=tenant_id,
            lost=lost,
        )

        return end_agent_lease
