from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.agent_labels import AgentLabels
    from ..models.attempt import Attempt


T = TypeVar("T", bound="Agent")


@_attrs_define
class Agent:
    """An agent, and the three things that are known of it."""

    agent_id: str
    name: None | str
    labels: AgentLabels
    registered_at: datetime.datetime
    last_seen_at: datetime.datetime | None
    offered: int | None
    """ The version that it is given when it asks. """
    last_attempt: Attempt | None
    running: int | None
    """ The version that works there. """
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.attempt import Attempt  # noqa: PLC0415

        agent_id = self.agent_id

        name: None | str
        name = self.name

        labels = self.labels.to_dict()

        registered_at = self.registered_at.isoformat()

        last_seen_at: None | str
        if isinstance(self.last_seen_at, datetime.datetime):
            last_seen_at = self.last_seen_at.isoformat()
        else:
            last_seen_at = self.last_seen_at

        offered: int | None
        offered = self.offered

        last_attempt: dict[str, Any] | None
        if isinstance(self.last_attempt, Attempt):
            last_attempt = self.last_attempt.to_dict()
        else:
            last_attempt = self.last_attempt

        running: int | None
        running = self.running

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "agent_id": agent_id,
                "name": name,
                "labels": labels,
                "registered_at": registered_at,
                "last_seen_at": last_seen_at,
                "offered": offered,
                "last_attempt": last_attempt,
                "running": running,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.agent_labels import AgentLabels  # noqa: PLC0415
        from ..models.attempt import Attempt  # noqa: PLC0415

        d = dict(src_dict)
        agent_id = d.pop("agent_id")

        def _parse_name(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        name = _parse_name(d.pop("name"))

        labels = AgentLabels.from_dict(d.pop("labels"))

        registered_at = datetime.datetime.fromisoformat(d.pop("registered_at"))

        def _parse_last_seen_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                last_seen_at_type_0 = datetime.datetime.fromisoformat(data)

                return last_seen_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        last_seen_at = _parse_last_seen_at(d.pop("last_seen_at"))

        def _parse_offered(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        offered = _parse_offered(d.pop("offered"))

        def _parse_last_attempt(data: object) -> Attempt | None:
            if data is None:
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                last_attempt_type_0 = Attempt.from_dict(data)

                return last_attempt_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(Attempt | None, data)

        last_attempt = _parse_last_attempt(d.pop("last_attempt"))

        def _parse_running(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        running = _parse_running(d.pop("running"))

        agent = cls(
            agent_id=agent_id,
            name=name,
            labels=labels,
            registered_at=registered_at,
            last_seen_at=last_seen_at,
            offered=offered,
            last_attempt=last_attempt,
            running=running,
        )

        agent.additional_properties = d
        return agent

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
