from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.thread_status import ThreadStatus

T = TypeVar("T", bound="Thread")


@_attrs_define
class Thread:
    """An agent's conversation."""

    thread_id: str
    tenant_id: str
    status: ThreadStatus
    last_seq: int
    """ The `seq` of its last event. """
    idle_timeout_seconds: int
    created_at: datetime.datetime
    updated_at: datetime.datetime
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        thread_id = self.thread_id

        tenant_id = self.tenant_id

        status = self.status.value

        last_seq = self.last_seq

        idle_timeout_seconds = self.idle_timeout_seconds

        created_at = self.created_at.isoformat()

        updated_at = self.updated_at.isoformat()

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "thread_id": thread_id,
                "tenant_id": tenant_id,
                "status": status,
                "last_seq": last_seq,
                "idle_timeout_seconds": idle_timeout_seconds,
                "created_at": created_at,
                "updated_at": updated_at,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        thread_id = d.pop("thread_id")

        tenant_id = d.pop("tenant_id")

        status = ThreadStatus(d.pop("status"))

        last_seq = d.pop("last_seq")

        idle_timeout_seconds = d.pop("idle_timeout_seconds")

        created_at = datetime.datetime.fromisoformat(d.pop("created_at"))

        updated_at = datetime.datetime.fromisoformat(d.pop("updated_at"))

        thread = cls(
            thread_id=thread_id,
            tenant_id=tenant_id,
            status=status,
            last_seq=last_seq,
            idle_timeout_seconds=idle_timeout_seconds,
            created_at=created_at,
            updated_at=updated_at,
        )

        thread.additional_properties = d
        return thread

    @property
    def additional_keys(self) -> list[str]:
        return list(self.additional_properties.keys())

    def __getitem__(self, key: str) -> Any:
        return self.additional_properties[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.additional_properties[key] = value

    def __delitem__(self, key: str) -> None:
        del self.additional_properties[key]

    def __contains__(self, key: str) -> bool:
        return key in self.additional_properties
