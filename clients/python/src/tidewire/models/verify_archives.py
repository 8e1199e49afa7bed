from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="VerifyArchives")


@_attrs_define
class VerifyArchives:
    """What is to be checked: the payload of a job of type `archive.verify` too."""

    repair: bool | Unset = UNSET
    """ Whether to mend what can be mended: objects that no archive knows are deleted, and broken ones
    written anew while the database still has their events. """

    def to_dict(self) -> dict[str, Any]:
        repair = self.repair

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if repair is not UNSET:
            field_dict["repair"] = repair

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        repair = d.pop("repair", UNSET)

        verify_archives = cls(
            repair=repair,
        )

        return verify_archives
