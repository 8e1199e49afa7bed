from enum import StrEnum


class ArchiveFormat(StrEnum):
    JSONL = "jsonl"
    PARQUET = "parquet"

    def __str__(self) -> str:
        return str(self.value)
