from enum import StrEnum


class LeaseEndStatus(StrEnum):
    BUSY = "busy"
    RELEASED = "released"
    UNKNOWN = "unknown"

    def __str__(self) -> str:
        return str(self.value)
