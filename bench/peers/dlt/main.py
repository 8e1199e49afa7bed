"""Drives dlt, as a process of its own: one site's orders out of the builder, page by page, into PostgreSQL."""

import argparse
import json
import os
import resource
import tempfile
import time
import urllib.parse

# Nobody is told that it runs, and nothing of it is asked for.
os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
os.environ["RUNTIME__LOG_LEVEL"] = "ERROR"

import dlt
from dlt.sources.helpers.rest_client.paginators import PageNumberPaginator
from dlt.sources.rest_api import rest_api_source


def credentials(url):
    """The URL as dlt takes it: with a password, which a server that trusts this machine does not look at."""
    parts = urllib.parse.urlsplit(url)
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    place = f"{user}:{password or 'none'}@{parts.netloc.rpartition('@')[2]}"
    return urllib.parse.urlunsplit(("postgresql", place, parts.path, "", ""))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--database-url", required=True)
    parser.add_argument("task", choices=["sync"])
    parser.add_argument("--url", required=True)
    parser.add_argument("--site", required=True)
    parser.add_argument("--access-key", required=True)
    parser.add_argument("--records", type=int, required=True)
    args = parser.parse_args()
    url = credentials(args.database_url)
    source = rest_api_source(
        {
            "client": {
                "base_url": f"{args.url}/builder/api/sites/{args.site}/",
                "headers": {"X-Access-Key": args.access_key},
                "paginator": PageNumberPaginator(
                    base_page=1, page_param="page", total_path=None, has_more_path="has_more"
                ),
            },
            "resources": [
                {
                    "name": "orders",
                    "primary_key": "id",
                    # As Tidewire has it: what is known comes once.
                    "write_disposition": "merge",
                    "endpoint": {"path": "orders", "data_selector": "orders"},
                }
            ],
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        pipeline = dlt.pipeline(
            pipeline_name="orders",
            destination=dlt.destinations.postgres(url),
            dataset_name="shop",
            pipelines_dir=folder,
        )
        began, cpu = time.monotonic(), time.process_time()
        pipeline.run(source)
        took, cpu = time.monotonic() - began, time.process_time() - cpu
        with pipeline.sql_client() as client:
            with client.execute_query("SELECT count(*) FROM orders") as rows:
                stored = rows.fetchone()[0]
    if stored != args.records:
        raise SystemExit(f"{stored} of {args.records} orders were stored")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures = {"rate": stored / took, "counted": stored, "cpu_seconds": cpu, "peak_rss_mib": peak}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
