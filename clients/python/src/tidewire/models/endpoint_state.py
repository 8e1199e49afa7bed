from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.circuit_state import CircuitState

T = TypeVar("T", bound="EndpointState")


@_attrs_define
class EndpointState:
    """An endpoint whose circuit is not closed."""

    endpoint: str
    """ Its URL without the query. """
    circuit: CircuitState
    failures: int
    """ Failures in a row that opened it. """
    retry_at: datetime.datetime | None
    worker: str
    """ The worker that says so. """
    updated_at: datetime.datetime
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        endpoint = self.endpoint

        circuit = self.circuit.value

        failures = self.failures

        retry_at: None | str
        if isinstance(self.retry_at, datetime.datetime):
            retry_at = self.retry_at.isoformat()
        else:
            retry_at = self.retry_at

        worker = self.worker

        updated_at = self.updated_at.isoformat()

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "endpoint": endpoint,
                "circuit": circuit,
                "failures": failures,
                "retry_at": retry_at,
                "worker": worker,
                "updated_at": updated_at,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        endpoint = d.pop("endpoint")

        circuit = CircuitState(d.pop("circuit"))

        failures = d.pop("failures")

        def _parse_retry_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                retry_at_type_0 = datetime.datetime.fromisoformat(data)

                return retry_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        retry_at = _parse_retry_at(d.pop("retry_at"))

        worker = d.pop("worker")

        updated_at = datetime.datetime.fromisoformat(d.pop("updated_at"))

        endpoint_state = cls(
            endpoint=endpoint,
            circuit=circuit,
            failures=failures,
            retry_at=retry_at,
            worker=worker,
            updated_at=updated_at,
        )

        endpoint_state.additional_properties = d
        return endpoint_state

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
