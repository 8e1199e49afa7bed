from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="Touch")


@_attrs_define
class Touch:
    """How a user came."""

    utm_source: str
    occurred_at: datetime.datetime
    event_id: str
    """ The event that says so. """
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        utm_source = self.utm_source

        occurred_at = self.occurred_at.isoformat()

        event_id = self.event_id

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "utm_source": utm_source,
                "occurred_at": occurred_at,
                "event_id": event_id,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        utm_source = d.pop("utm_source")

        occurred_at = datetime.datetime.fromisoformat(d.pop("occurred_at"))

        event_id = d.pop("event_id")

        touch = cls(
            utm_source=utm_source,
            occurred_at=occurred_at,
            event_id=event_id,
        )

        touch.additional_properties = d
        return touch

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
