from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="TestTrigger")


@_attrs_define
class TestTrigger:
    """What a test delivers."""

    payload: Any | Unset = UNSET
    """ Any JSON, at most 256 KiB; the config's payload if it is missing, and `{}` without one. """

    def to_dict(self) -> dict[str, Any]:
        payload = self.payload

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if payload is not UNSET:
            field_dict["payload"] = payload

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        payload = d.pop("payload", UNSET)

        test_trigger = cls(
            payload=payload,
        )

        return test_trigger
