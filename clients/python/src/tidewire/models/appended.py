from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="Appended")


@_attrs_define
class Appended:
    """The answer to one appended event."""

    id: str
    stream: str
    seq: int
    created_at: datetime.datetime
    duplicated: bool
    """ Whether the `dedupe_key` was seen before: the rest is then the first event's. """
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        id = self.id

        stream = self.stream

        seq = self.seq

        created_at = self.created_at.isoformat()

        duplicated = self.duplicated

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "id": id,
                "stream": stream,
                "seq": seq,
                "created_at": created_at,
                "duplicated": duplicated,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        id = d.pop("id")

        stream = d.pop("stream")

        seq = d.pop("seq")

        created_at = datetime.datetime.fromisoformat(d.pop("created_at"))

        duplicated = d.pop("duplicated")

        appended = cls(
            id=id,
            stream=stream,
            seq=seq,
            created_at=created_at,
            duplicated=duplicated,
        )

        appended.additional_properties = d
        return appended

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
