from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="ClaimJobs")


@_attrs_define
class ClaimJobs:
    """What a worker asks for."""

    worker: str
    """ The worker's name, as `locked_by` shows it: 1–128 characters of `[A-Za-z0-9._:-]`. """
    types: list[str] | None | Unset = UNSET
    """ Only these types; all if it is missing. """
    queues: list[str] | None | Unset = UNSET
    """ Only these queues; all if it is missing. """
    limit: int | None | Unset = UNSET
    """ How many jobs at most; 1 if it is missing. """
    wait_seconds: int | None | Unset = UNSET
    """ How long to hold the request until a job is due; 0 if it is missing. """
    lease_seconds: int | None | Unset = UNSET
    """ How long the claim is good without a heartbeat; the server's setting if it is missing. """

    def to_dict(self) -> dict[str, Any]:
        worker = self.worker

        types: list[str] | None | Unset
        if isinstance(self.types, Unset):
            types = UNSET
        elif isinstance(self.types, list):
            types = self.types

        else:
            types = self.types

        queues: list[str] | None | Unset
        if isinstance(self.queues, Unset):
            queues = UNSET
        elif isinstance(self.queues, list):
            queues = self.queues

        else:
            queues = self.queues

        limit: int | None | Unset
        if isinstance(self.limit, Unset):
            limit = UNSET
        else:
            limit = self.limit

        wait_seconds: int | None | Unset
        if isinstance(self.wait_seconds, Unset):
            wait_seconds = UNSET
        else:
            wait_seconds = self.wait_seconds

        lease_seconds: int | None | Unset
        if isinstance(self.lease_seconds, Unset):
            lease_seconds = UNSET
        else:
            lease_seconds = self.lease_seconds

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "worker": worker,
            }
        )
        if types is not UNSET:
            field_dict["types"] = types
        if queues is not UNSET:
            field_dict["queues"] = queues
        if limit is not UNSET:
            field_dict["limit"] = limit
        if wait_seconds is not UNSET:
            field_dict["wait_seconds"] = wait_seconds
        if lease_seconds is not UNSET:
            field_dict["lease_seconds"] = lease_seconds

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        worker = d.pop("worker")

        def _parse_types(data: object) -> list[str] | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, list):
                    raise TypeError()
                types_type_0 = cast(list[str], data)

                return types_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(list[str] | None | Unset, data)

        types = _parse_types(d.pop("types", UNSET))

        def _parse_queues(data: object) -> list[str] | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, list):
                    raise TypeError()
                queues_type_0 = cast(list[str], data)

                return queues_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(list[str] | None | Unset, data)

        queues = _parse_queues(d.pop("queues", UNSET))

        def _parse_limit(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        limit = _parse_limit(d.pop("limit", UNSET))

        def _parse_wait_seconds(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        wait_seconds = _parse_wait_seconds(d.pop("wait_seconds", UNSET))

        def _parse_lease_seconds(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        lease_seconds = _parse_lease_seconds(d.pop("lease_seconds", UNSET))

        claim_jobs = cls(
            worker=worker,
            types=types,
            queues=queues,
            limit=limit,
            wait_seconds=wait_seconds,
            lease_seconds=lease_seconds,
        )

        return claim_jobs
