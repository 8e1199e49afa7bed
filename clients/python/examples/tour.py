"""Appends an event, follows it, and has a job done."""

import os
import time

from tidewire import ApiError, Client, follow_events
from tidewire.api.events import append_events
from tidewire.api.jobs import enqueue_job, get_job
from tidewire.models import EventIn, JobStatus, NewJob

url = os.environ.get("TIDEWIRE_SERVER", "http://127.0.0.1:8080")
with Client(url, api_key=os.environ.get("TIDEWIRE_API_KEY")) as client:
    paid = EventIn(type_="order.paid", subject="ann", dedupe_key="order-17", payload={"amount": 12.5})
    stored = append_events.sync(client=client, body=paid)

    for event in follow_events(client, after="0", type_="order.paid"):
        print(f"{event.type_} {event.seq} of {event.stream}: {event.payload}")
        break

    job = enqueue_job.sync(client=client, body=NewJob(type_="echo", payload=[1, 2, 3]))
    while (job := get_job.sync(job.id, client=client)).status in (JobStatus.PENDING, JobStatus.RUNNING):
        time.sleep(0.1)
    print(f"{job.type_} is {job.status}: {job.output}")

    try:
        append_events.sync(client=client, body=EventIn(type_="no spaces"))
    except ApiError as error:
        print(error.status, error.errors[0].pointer, error.errors[0].detail)
