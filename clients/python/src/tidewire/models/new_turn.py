from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.on_busy import OnBusy
from ..types import UNSET, Unset

T = TypeVar("T", bound="NewTurn")


@_attrs_define
class NewTurn:
    """A turn to be run.

    Example:
        {'input': 'Where is my order?', 'thread_id': 'support-42'}

    """

    input_: Any
    """ What the agent is asked: any JSON, at most 256 KiB. """
    thread_id: None | str | Unset = UNSET
    """ Made on first use; made up if it is missing. """
    turn_id: None | str | Unset = UNSET
    """ The same turn of a thread is accepted once. Made up if it is missing. """
    agent: None | str | Unset = UNSET
    """ The queue of agents that it is for; `default` if it is missing. """
    on_busy: OnBusy | Unset = UNSET
    """ What is done about a turn whose thread has an open one. """

    def to_dict(self) -> dict[str, Any]:
        input_ = self.input_

        thread_id: None | str | Unset
        if isinstance(self.thread_id, Unset):
            thread_id = UNSET
        else:
            thread_id = self.thread_id

        turn_id: None | str | Unset
        if isinstance(self.turn_id, Unset):
            turn_id = UNSET
        else:
            turn_id = self.turn_id

        agent: None | str | Unset
        if isinstance(self.agent, Unset):
            agent = UNSET
        else:
            agent = self.agent

        on_busy: str | Unset = UNSET
        if not isinstance(self.on_busy, Unset):
            on_busy = self.on_busy.value

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "input": input_,
            }
        )
        if thread_id is not UNSET:
            field_dict["thread_id"] = thread_id
        if turn_id is not UNSET:
            field_dict["turn_id"] = turn_id
        if agent is not UNSET:
            field_dict["agent"] = agent
        if on_busy is not UNSET:
            field_dict["on_busy"] = on_busy

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        input_ = d.pop("input")

        def _parse_thread_id(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        thread_id = _parse_thread_id(d.pop("thread_id", UNSET))

        def _parse_turn_id(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        turn_id = _parse_turn_id(d.pop("turn_id", UNSET))

        def _parse_agent(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        agent = _parse_agent(d.pop("agent", UNSET))

        _on_busy = d.pop("on_busy", UNSET)
        on_busy: OnBusy | Unset
        if isinstance(_on_busy, Unset):
            on_busy = UNSET
        else:
            on_busy = OnBusy(_on_busy)

        new_turn = cls(
            input_=input_,
            thread_id=thread_id,
            turn_id=turn_id,
            agent=agent,
            on_busy=on_busy,
        )

        return new_turn
