from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

T = TypeVar("T", bound="RetryConfig")


@_attrs_define
class RetryConfig:
    """Attempt n is followed by a wait of `base_seconds · 2^(n-1)`, at most `cap_seconds`, with ±20 % jitter. What is
    missing
    is the server's setting.

    """

    max_attempts: int | None | Unset = UNSET
    base_seconds: float | None | Unset = UNSET
    cap_seconds: float | None | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        max_attempts: int | None | Unset
        if isinstance(self.max_attempts, Unset):
            max_attempts = UNSET
        else:
            max_attempts = self.max_attempts

        base_seconds: float | None | Unset
        if isinstance(self.base_seconds, Unset):
            base_seconds = UNSET
        else:
            base_seconds = self.base_seconds

        cap_seconds: float | None | Unset
        if isinstance(self.cap_seconds, Unset):
            cap_seconds = UNSET
        else:
            cap_seconds = self.cap_seconds

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update({})
        if max_attempts is not UNSET:
            field_dict["max_attempts"] = max_attempts
        if base_seconds is not UNSET:
            field_dict["base_seconds"] = base_seconds
        if cap_seconds is not UNSET:
            field_dict["cap_seconds"] = cap_seconds

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)

        def _parse_max_attempts(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        max_attempts = _parse_max_attempts(d.pop("max_attempts", UNSET))

        def _parse_base_seconds(data: object) -> float | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(float | None | Unset, data)

        base_seconds = _parse_base_seconds(d.pop("base_seconds", UNSET))

        def _parse_cap_seconds(data: object) -> float | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(float | None | Unset, data)

        cap_seconds = _parse_cap_seconds(d.pop("cap_seconds", UNSET))

        retry_config = cls(
            max_attempts=max_attempts,
            base_seconds=base_seconds,
            cap_seconds=cap_seconds,
        )

        retry_config.additional_properties = d
        return retry_config

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
