from enum import StrEnum


class ExecutionSource(StrEnum):
    EVENT = "event"
    MANUAL_TEST = "manual-test"
    SCHEDULER = "scheduler"
    WEBHOOK = "webhook"

    def __str__(self) -> str:
        return str(self.value)
