from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="AgentLease")


@_attrs_define
class AgentLease:
    """A lease as a list shows it."""

    tenant_id: str
    worker: str
    agent: None | str
    """ Null for an instance that runs turns which name none. """
    thread_id: None | str
    """ Null while it waits for one. """
    expires_at: datetime.datetime
    created_at: datetime.datetime
    last_turn_at: datetime.datetime | None
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        tenant_id = self.tenant_id

        worker = self.worker

        agent: None | str
        agent = self.agent

        thread_id: None | str
        thread_id = self.thread_id

        expires_at = self.expires_at.isoformat()

        created_at = self.created_at.isoformat()

        last_turn_at: None | str
        if isinstance(self.last_turn_at, datetime.datetime):
            last_turn_at = self.last_turn_at.isoformat()
        else:
            last_turn_at = self.last_turn_at

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "tenant_id": tenant_id,
                "worker": worker,
                "agent": agent,
                "thread_id": thread_id,
                "expires_at": expires_at,
                "created_at": created_at,
                "last_turn_at": last_turn_at,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        tenant_id = d.pop("tenant_id")

        worker = d.pop("worker")

        def _parse_agent(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        agent = _parse_agent(d.pop("agent"))

        def _parse_thread_id(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        thread_id = _parse_thread_id(d.pop("thread_id"))

        expires_at = datetime.datetime.fromisoformat(d.pop("expires_at"))

        created_at = datetime.datetime.fromisoformat(d.pop("created_at"))

        def _parse_last_turn_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                last_turn_at_type_0 = datetime.datetime.fromisoformat(data)

                return last_turn_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        last_turn_at = _parse_last_turn_at(d.pop("last_turn_at"))

        agent_lease = cls(
            tenant_id=tenant_id,
            worker=worker,
            agent=agent,
            thread_id=thread_id,
            expires_at=expires_at,
            created_at=created_at,
            last_turn_at=last_turn_at,
        )

        agent_lease.additional_properties = d
        return agent_lease

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
