from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.attempt_state import AttemptState
from ..types import UNSET, Unset

T = TypeVar("T", bound="AgentStatus")


@_attrs_define
class AgentStatus:
    version: int
    state: AttemptState
    error: None | str | Unset = UNSET
    """ Why it failed. """

    def to_dict(self) -> dict[str, Any]:
        version = self.version

        state = self.state.value

        error: None | str | Unset
        if isinstance(self.error, Unset):
            error = UNSET
        else:
            error = self.error

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "version": version,
                "state": state,
            }
        )
        if error is not UNSET:
            field_dict["error"] = error

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        version = d.pop("version")

        state = AttemptState(d.pop("state"))

        def _parse_error(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        error = _parse_error(d.pop("error", UNSET))

        agent_status = cls(
            version=version,
            state=state,
            error=error,
        )

        return agent_status
