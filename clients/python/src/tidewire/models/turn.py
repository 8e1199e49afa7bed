from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.turn_status import TurnStatus

T = TypeVar("T", bound="Turn")


@_attrs_define
class Turn:
    """One unit of an agent's work."""

    turn_id: str
    thread_id: str
    status: TurnStatus
    """ What has become of a turn. """
    input_: Any
    """ What was asked; null for a turn that an agent began by itself. """
    agent: None | str
    """ The queue of agents that it was meant for; `default` if it is null. """
    job_id: None | str
    """ The job by which agents have it; null while it waits for the turn before it. """
    worker: None | str
    """ The agent that had it last. """
    seq: int
    """ The `seq` of its first event. """
    ended_seq: int | None
    """ The `seq` of the event that ended it. """
    error: None | str
    """ Why it failed, in its agent's words or its job's. """
    created_at: datetime.datetime
    started_at: datetime.datetime | None
    finished_at: datetime.datetime | None
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        turn_id = self.turn_id

        thread_id = self.thread_id

        status = self.status.value

        input_ = self.input_

        agent: None | str
        agent = self.agent

        job_id: None | str
        job_id = self.job_id

        worker: None | str
        worker = self.worker

        seq = self.seq

        ended_seq: int | None
        ended_seq = self.ended_seq

        error: None | str
        error = self.error

        created_at = self.created_at.isoformat()

        started_at: None | str
        if isinstance(self.started_at, datetime.datetime):
            started_at = self.started_at.isoformat()
        else:
            started_at = self.started_at

        finished_at: None | str
        if isinstance(self.finished_at, datetime.datetime):
            finished_at = self.finished_at.isoformat()
        else:
            finished_at = self.finished_at

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "turn_id": turn_id,
                "thread_id": thread_id,
                "status": status,
                "input": input_,
                "agent": agent,
                "job_id": job_id,
                "worker": worker,
                "seq": seq,
                "ended_seq": ended_seq,
                "error": error,
                "created_at": created_at,
                "started_at": started_at,
                "finished_at": finished_at,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        turn_id = d.pop("turn_id")

        thread_id = d.pop("thread_id")

        status = TurnStatus(d.pop("status"))

        input_ = d.pop("input")

        def _parse_agent(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        agent = _parse_agent(d.pop("agent"))

        def _parse_job_id(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        job_id = _parse_job_id(d.pop("job_id"))

        def _parse_worker(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        worker = _parse_worker(d.pop("worker"))

        seq = d.pop("seq")

        def _parse_ended_seq(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        ended_seq = _parse_ended_seq(d.pop("ended_seq"))

        def _parse_error(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        error = _parse_error(d.pop("error"))

        created_at = datetime.datetime.fromisoformat(d.pop("created_at"))

        def _parse_started_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                started_at_type_0 = datetime.datetime.fromisoformat(data)

                return started_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        started_at = _parse_started_at(d.pop("started_at"))

        def _parse_finished_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                finished_at_type_0 = datetime.datetime.fromisoformat(data)

                return finished_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        finished_at = _parse_finished_at(d.pop("finished_at"))

        turn = cls(
            turn_id=turn_id,
            thread_id=thread_id,
            status=status,
            input_=input_,
            agent=agent,
            job_id=job_id,
            worker=worker,
            seq=seq,
            ended_seq=ended_seq,
            error=error,
            created_at=created_at,
            started_at=started_at,
            finished_at=finished_at,
        )

        turn.additional_properties = d
        return turn

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
