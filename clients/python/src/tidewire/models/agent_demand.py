from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.thread_demand import ThreadDemand


T = TypeVar("T", bound="AgentDemand")


@_attrs_define
class AgentDemand:
    """Which threads have open turns."""

    revision: str
    """ Names what is said here. An answer that is held waits for another one. """
    threads: list[ThreadDemand]
    """ As many as there are: they are not limited. """
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        revision = self.revision

        threads = []
        for threads_item_data in self.threads:
            threads_item = threads_item_data.to_dict()
            threads.append(threads_item)

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "revision": revision,
                "threads": threads,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.thread_demand import ThreadDemand  # noqa: PLC0415

        d = dict(src_dict)
        revision = d.pop("revision")

        threads = []
        _threads = d.pop("threads")
        for threads_item_data in _threads:
            threads_item = ThreadDemand.from_dict(threads_item_data)

            threads.append(threads_item)

        agent_demand = cls(
            revision=revision,
            threads=threads,
        )

        agent_demand.additional_properties = d
        return agent_demand

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
