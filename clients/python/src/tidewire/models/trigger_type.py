from enum import StrEnum


class TriggerType(StrEnum):
    CRON_SCHEDULED = "cron_scheduled"
    EVENT = "event"
    INTERVAL_SCHEDULED = "interval_scheduled"
    TIME_SCHEDULED = "time_scheduled"
    WEBHOOK = "webhook"

    def __str__(self) -> str:
        return str(self.value)
