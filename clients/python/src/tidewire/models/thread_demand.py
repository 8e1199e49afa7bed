from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.turn_status import TurnStatus

T = TypeVar("T", bound="ThreadDemand")


@_attrs_define
class ThreadDemand:
    """A thread with an open turn: the first of them."""

    tenant_id: str
    thread_id: str
    agent: None | str
    """ The turn's; null if it names none. """
    turn_id: str
    status: TurnStatus
    """ What has become of a turn. """
    since: datetime.datetime
    worker: None | str
    """ Who runs it, or did last. """
    leased_by: None | str
    """ The instance that has the thread. """
    leased_until: datetime.datetime | None
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        tenant_id = self.tenant_id

        thread_id = self.thread_id

        agent: None | str
        agent = self.agent

        turn_id = self.turn_id

        status = self.status.value

        since = self.since.isoformat()

        worker: None | str
        worker = self.worker

        leased_by: None | str
        leased_by = self.leased_by

        leased_until: None | str
        if isinstance(self.leased_until, datetime.datetime):
            leased_until = self.leased_until.isoformat()
        else:
            leased_until = self.leased_until

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "tenant_id": tenant_id,
                "thread_id": thread_id,
                "agent": agent,
                "turn_id": turn_id,
                "status": status,
                "since": since,
                "worker": worker,
                "leased_by": leased_by,
                "leased_until": leased_until,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        tenant_id = d.pop("tenant_id")

        thread_id = d.pop("thread_id")

        def _parse_agent(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        agent = _parse_agent(d.pop("agent"))

        turn_id = d.pop("turn_id")

        status = TurnStatus(d.pop("status"))

        since = datetime.datetime.fromisoformat(d.pop("since"))

        def _parse_worker(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        worker = _parse_worker(d.pop("worker"))

        def _parse_leased_by(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        leased_by = _parse_leased_by(d.pop("leased_by"))

        def _parse_leased_until(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                leased_until_type_0 = datetime.datetime.fromisoformat(data)

                return leased_until_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        leased_until = _parse_leased_until(d.pop("leased_until"))

        thread_demand = cls(
            tenant_id=tenant_id,
            thread_id=thread_id,
            agent=agent,
            turn_id=turn_id,
            status=status,
            since=since,
            worker=worker,
            leased_by=leased_by,
            leased_until=leased_until,
        )

        thread_demand.additional_properties = d
        return thread_demand

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
