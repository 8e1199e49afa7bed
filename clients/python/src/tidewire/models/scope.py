from enum import StrEnum


class Scope(StrEnum):
    ADMIN = "admin"
    AGENT = "agent"
    FLEET = "fleet"
    READ = "read"
    WORKER = "worker"
    WRITE = "write"

    def __str__(self) -> str:
        return str(self.value)
