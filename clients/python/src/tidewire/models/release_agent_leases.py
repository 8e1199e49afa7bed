from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define

if TYPE_CHECKING:
    from ..models.end_agent_lease import EndAgentLease


T = TypeVar("T", bound="ReleaseAgentLeases")


@_attrs_define
class ReleaseAgentLeases:
    leases: list[EndAgentLease]

    def to_dict(self) -> dict[str, Any]:
        leases = []
        for leases_item_data in self.leases:
            leases_item = leases_item_data.to_dict()
            leases.append(leases_item)

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "leases": leases,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.end_agent_lease import EndAgentLease  # noqa: PLC0415

        d = dict(src_dict)
        leases = []
        _leases = d.pop("leases")
        for leases_item_data in _leases:
            leases_item = EndAgentLease.from_dict(leases_item_data)

            leases.append(leases_item)

        release_agent_leases = cls(
            leases=leases,
        )

        return release_agent_leases
