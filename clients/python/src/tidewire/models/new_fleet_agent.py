from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.new_fleet_agent_labels_type_0 import NewFleetAgentLabelsType0


T = TypeVar("T", bound="NewFleetAgent")


@_attrs_define
class NewFleetAgent:
    agent_id: None | str | Unset = UNSET
    """ The id that it was given before; a new one is made if it is missing. """
    name: None | str | Unset = UNSET
    """ What people call it. """
    labels: NewFleetAgentLabelsType0 | None | Unset = UNSET
    """ What versions may ask for, such as `{"region": "eu"}`. """

    def to_dict(self) -> dict[str, Any]:
        from ..models.new_fleet_agent_labels_type_0 import NewFleetAgentLabelsType0  # noqa: PLC0415

        agent_id: None | str | Unset
        if isinstance(self.agent_id, Unset):
            agent_id = UNSET
        else:
            agent_id = self.agent_id

        name: None | str | Unset
        if isinstance(self.name, Unset):
            name = UNSET
        else:
            name = self.name

        labels: dict[str, Any] | None | Unset
        if isinstance(self.labels, Unset):
            labels = UNSET
        elif isinstance(self.labels, NewFleetAgentLabelsType0):
            labels = self.labels.to_dict()
        else:
            labels = self.labels

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if agent_id is not UNSET:
            field_dict["agent_id"] = agent_id
        if name is not UNSET:
            field_dict["name"] = name
        if labels is not UNSET:
            field_dict["labels"] = labels

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.new_fleet_agent_labels_type_0 import NewFleetAgentLabelsType0  # noqa: PLC0415

        d = dict(src_dict)

        def _parse_agent_id(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        agent_id = _parse_agent_id(d.pop("agent_id", UNSET))

        def _parse_name(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        name = _parse_name(d.pop("name", UNSET))

        def _parse_labels(data: object) -> NewFleetAgentLabelsType0 | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                labels_type_0 = NewFleetAgentLabelsType0.from_dict(data)

                return labels_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(NewFleetAgentLabelsType0 | None | Unset, data)

        labels = _parse_labels(d.pop("labels", UNSET))

        new_fleet_agent = cls(
            agent_id=agent_id,
            name=name,
            labels=labels,
        )

        return new_fleet_agent
