from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="FailJob")


@_attrs_define
class FailJob:
    """An attempt that went badly."""

    lease_token: str
    error: str
    """ Kept as `last_error` and in the log of attempts; the first 8,192 characters of it. """
    retry_in_seconds: int | None | Unset = UNSET
    """ When to try again; after the backoff if it is missing. """
    permanent: bool | None | Unset = UNSET
    """ Trying again is of no use: the job has failed. """

    def to_dict(self) -> dict[str, Any]:
        lease_token = self.lease_token

        error = self.error

        retry_in_seconds: int | None | Unset
        if isinstance(self.retry_in_seconds, Unset):
            retry_in_seconds = UNSET
        else:
            retry_in_seconds = self.retry_in_seconds

        permanent: bool | None | Unset
        if isinstance(self.permanent, Unset):
            permanent = UNSET
        else:
            permanent = self.permanent

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "lease_token": lease_token,
                "error": error,
            }
        )
        if retry_in_seconds is not UNSET:
            field_dict["retry_in_seconds"] = retry_in_seconds
        if permanent is not UNSET:
            field_dict["permanent"] = permanent

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        lease_token = d.pop("lease_token")

        error = d.pop("error")

        def _parse_retry_in_seconds(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        retry_in_seconds = _parse_retry_in_seconds(d.pop("retry_in_seconds", UNSET))

        def _parse_permanent(data: object) -> bool | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(bool | None | Unset, data)

        permanent = _parse_permanent(d.pop("permanent", UNSET))

        fail_job = cls(
            lease_token=lease_token,
            error=error,
            retry_in_seconds=retry_in_seconds,
            permanent=permanent,
        )

        return fail_job
