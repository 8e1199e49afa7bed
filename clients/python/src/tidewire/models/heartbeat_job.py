from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="HeartbeatJob")


@_attrs_define
class HeartbeatJob:
    """A sign of life."""

    lease_token: str
    lease_seconds: int | None | Unset = UNSET
    """ How long the claim is good from now on; the server's setting if it is missing. """
    progress: Any | Unset = UNSET
    """ How far it is: any JSON of at most 4 KiB, shown with the job. What was said before stays if
    it is missing. """

    def to_dict(self) -> dict[str, Any]:
        lease_token = self.lease_token

        lease_seconds: int | None | Unset
        if isinstance(self.lease_seconds, Unset):
            lease_seconds = UNSET
        else:
            lease_seconds = self.lease_seconds

        progress = self.progress

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "lease_token": lease_token,
            }
        )
        if lease_seconds is not UNSET:
            field_dict["lease_seconds"] = lease_seconds
        if progress is not UNSET:
            field_dict["progress"] = progress

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        lease_token = d.pop("lease_token")

        def _parse_lease_seconds(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        lease_seconds = _parse_lease_seconds(d.pop("lease_seconds", UNSET))

        progress = d.pop("progress", UNSET)

        heartbeat_job = cls(
            lease_token=lease_token,
            lease_seconds=lease_seconds,
            progress=progress,
        )

        return heartbeat_job
