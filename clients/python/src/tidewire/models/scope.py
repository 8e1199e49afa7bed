from enum import StrEnum


class Scope(StrEnum):
    ADMIN = "admin"
    FLEET = "fleet"
    READ = "read"
    WORKER = "worker"
    WRITE = "write"

    def __str__(self) -> str:
        return str(self.value)
