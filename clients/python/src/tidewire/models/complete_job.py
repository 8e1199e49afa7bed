from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="CompleteJob")


@_attrs_define
class CompleteJob:
    """A job that went well."""

    lease_token: str
    output: Any | Unset = UNSET
    """ Any JSON, at most 256 KiB. """

    def to_dict(self) -> dict[str, Any]:
        lease_token = self.lease_token

        output = self.output

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "lease_token": lease_token,
            }
        )
        if output is not UNSET:
            field_dict["output"] = output

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        lease_token = d.pop("lease_token")

        output = d.pop("output", UNSET)

        complete_job = cls(
            lease_token=lease_token,
            output=output,
        )

        return complete_job
