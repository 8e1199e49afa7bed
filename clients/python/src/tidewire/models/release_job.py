from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define

T = TypeVar("T", bound="ReleaseJob")


@_attrs_define
class ReleaseJob:
    """A job that is given back."""

    lease_token: str

    def to_dict(self) -> dict[str, Any]:
        lease_token = self.lease_token

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "lease_token": lease_token,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        lease_token = d.pop("lease_token")

        release_job = cls(
            lease_token=lease_token,
        )

        return release_job
