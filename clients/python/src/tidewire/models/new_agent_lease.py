from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="NewAgentLease")


@_attrs_define
class NewAgentLease:
    """A lease that an instance is to have, or to go on having."""

    worker: str
    """ The instance's name, under which it claims; not to be given to another one later. """
    tenant_id: None | str | Unset = UNSET
    """ `default` if it is missing. """
    agent: None | str | Unset = UNSET
    """ The agent that the instance is; turns that name none if it is missing. It stays as it was at first. """
    thread_id: None | str | Unset = UNSET
    """ The thread that is its own, made if it is not there. A lease without one may get one later, and keeps
    it then. """
    lease_seconds: int | None | Unset = UNSET
    """ From now on; 60 if it is missing. """

    def to_dict(self) -> dict[str, Any]:
        worker = self.worker

        tenant_id: None | str | Unset
        if isinstance(self.tenant_id, Unset):
            tenant_id = UNSET
        else:
            tenant_id = self.tenant_id

        agent: None | str | Unset
        if isinstance(self.agent, Unset):
            agent = UNSET
        else:
            agent = self.agent

        thread_id: None | str | Unset
        if isinstance(self.thread_id, Unset):
            thread_id = UNSET
        else:
            thread_id = self.thread_id

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
        if tenant_id is not UNSET:
            field_dict["tenant_id"] = tenant_id
        if agent is not UNSET:
            field_dict["agent"] = agent
        if thread_id is not UNSET:
            field_dict["thread_id"] = thread_id
        if lease_seconds is not UNSET:
            field_dict["lease_seconds"] = lease_seconds

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        worker = d.pop("worker")

        def _parse_tenant_id(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        tenant_id = _parse_tenant_id(d.pop("tenant_id", UNSET))

        def _parse_agent(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        agent = _parse_agent(d.pop("agent", UNSET))

        def _parse_thread_id(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        thread_id = _parse_thread_id(d.pop("thread_id", UNSET))

        def _parse_lease_seconds(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        lease_seconds = _parse_lease_seconds(d.pop("lease_seconds", UNSET))

        new_agent_lease = cls(
            worker=worker,
            tenant_id=tenant_id,
            agent=agent,
            thread_id=thread_id,
            lease_seconds=lease_seconds,
        )

        return new_agent_lease
