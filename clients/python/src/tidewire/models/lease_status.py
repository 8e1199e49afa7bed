from enum import StrEnum


class LeaseStatus(StrEnum):
    HELD = "held"
    REFUSED = "refused"

    def __str__(self) -> str:
        return str(self.value)
