from enum import StrEnum


class AttemptState(StrEnum):
    APPLIED = "applied"
    FAILED = "failed"

    def __str__(self) -> str:
        return str(self.value)
