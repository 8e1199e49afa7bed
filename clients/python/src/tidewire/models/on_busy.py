from enum import StrEnum


class OnBusy(StrEnum):
    ENQUEUE = "enqueue"
    INTERRUPT = "interrupt"
    REJECT = "reject"

    def __str__(self) -> str:
        return str(self.value)
