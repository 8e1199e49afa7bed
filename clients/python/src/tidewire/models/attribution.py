from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.touch import Touch


T = TypeVar("T", bound="Attribution")


@_attrs_define
class Attribution:
    """How a subject came, first and last."""

    subject: str
    first_touch: None | Touch
    last_touch: None | Touch
    last_non_direct_touch: None | Touch
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.touch import Touch  # noqa: PLC0415

        subject = self.subject

        first_touch: dict[str, Any] | None
        if isinstance(self.first_touch, Touch):
            first_touch = self.first_touch.to_dict()
        else:
            first_touch = self.first_touch

        last_touch: dict[str, Any] | None
        if isinstance(self.last_touch, Touch):
            last_touch = self.last_touch.to_dict()
        else:
            last_touch = self.last_touch

        last_non_direct_touch: dict[str, Any] | None
        if isinstance(self.last_non_direct_touch, Touch):
            last_non_direct_touch = self.last_non_direct_touch.to_dict()
        else:
            last_non_direct_touch = self.last_non_direct_touch

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "subject": subject,
                "first_touch": first_touch,
                "last_touch": last_touch,
                "last_non_direct_touch": last_non_direct_touch,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.touch import Touch  # noqa: PLC0415

        d = dict(src_dict)
        subject = d.pop("subject")

        def _parse_first_touch(data: object) -> None | Touch:
            if data is None:
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                first_touch_type_0 = Touch.from_dict(data)

                return first_touch_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | Touch, data)

        first_touch = _parse_first_touch(d.pop("first_touch"))

        def _parse_last_touch(data: object) -> None | Touch:
            if data is None:
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                last_touch_type_0 = Touch.from_dict(data)

                return last_touch_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | Touch, data)

        last_touch = _parse_last_touch(d.pop("last_touch"))

        def _parse_last_non_direct_touch(data: object) -> None | Touch:
            if data is None:
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                last_non_direct_touch_type_0 = Touch.from_dict(data)

                return last_non_direct_touch_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | Touch, data)

        last_non_direct_touch = _parse_last_non_direct_touch(d.pop("last_non_direct_touch"))

        attribution = cls(
            subject=subject,
            first_touch=first_touch,
            last_touch=last_touch,
            last_non_direct_touch=last_non_direct_touch,
        )

        attribution.additional_properties = d
        return attribution

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
