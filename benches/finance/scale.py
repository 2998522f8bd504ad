#!/usr/bin/env python3
"""Reports, figures and writing with 5,000,000 recordings over sixty months.

Fills the database that --url names, which must exist and be empty or filled by an earlier run, and
prints medians as they are seen, warm. Writing is measured with and without the triggers that keep
the sums, in turns within one run: trust the ratio more than the rates. Needs psql and pgbench.
"""

import argparse
import os
import pathlib
import re
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
TREE = HERE.parent.parent
ROUNDS = 7
COUNTERS = ["count_new", "count_changed", "count_deleted"]


def psql(*arguments):
    command = ["psql", options.url, "-qAtX", "-v", "ON_ERROR_STOP=1", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def archiver(*arguments, **settings):
    command = [options.archiver, *arguments]
    environment = {"PATH": os.environ["PATH"], "DATABASE_URL": options.url, **settings}
    with tempfile.TemporaryDirectory() as elsewhere:
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=elsewhere, env=environment)
        return (time.perf_counter() - began) * 1000


def tell(what, millis):
    low, high = min(millis), max(millis)
    print(f"{what:58}{statistics.median(millis):10.1f} ms  ({low:.1f}-{high:.1f})", flush=True)


def query(what, statement):
    """Each time on the same connection, the first time unseen."""
    script = ["-c", statement, "-c", r"\timing on"] + ["-c", statement] * ROUNDS
    times = re.findall(r"^Time: ([0-9.]+) ms", psql("-o", "/dev/null", *script), re.MULTILINE)
    tell(what, [float(time) for time in times])


def program(what, *arguments):
    """The whole process, start and connection included."""
    tell(what, [archiver(*arguments) for _ in range(ROUNDS + 1)][1:])


def served(month):
    """What a service answers; at a scrape it measures the queue again after five seconds."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        listen = "127.0.0.1:%d" % free.getsockname()[1]
    with tempfile.TemporaryDirectory() as home:
        environment = {
            "PATH": os.environ["PATH"], "DATABASE_URL": options.url,
            "SIGNALWIRE_SPACE": "http://127.0.0.1:9", "SIGNALWIRE_PROJECT_ID": "nobody",
            "SIGNALWIRE_API_TOKEN": "none", "RECORDING_ARCHIVER_STORAGE_URL": f"file://{home}",
            "RECORDING_ARCHIVER_HTTP_LISTEN": listen, "RECORDING_ARCHIVER_LOG_LEVEL": "warn",
        }
        service = subprocess.Popen([options.archiver, "run"], cwd=home, env=environment)
        try:
            time.sleep(6)
            for what, path, pause in [
                ("a scrape of /metrics that measures", "/metrics", 6),
                ("the page", "/", 0),
                (f"the page, sessions of {month}", f"/?month={month}", 0),
            ]:
                millis = []
                while len(millis) <= ROUNDS:
                    time.sleep(pause)
                    began = time.perf_counter()
                    with urllib.request.urlopen(f"http://{listen}{path}") as answer:
                        answer.read()
                    millis.append((time.perf_counter() - began) * 1000)
                tell(what, millis[1:])
        finally:
            service.terminate()
            service.wait()


def rate(seconds):
    """Recordings enqueued, claimed and settled in a second, by eight connections."""
    command = ["pgbench", "-n", "-c", "8", "-j", "2", "-T", str(seconds), "-M", "prepared",
               "-f", str(HERE / "ingest.sql"), options.url]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return float(re.search(r"tps = ([0-9.]+) \(without initial", out.stdout).group(1))


def switch(state):
    psql("-c", "; ".join(f"ALTER TABLE archiver.recordings {state} TRIGGER {name}" for name in COUNTERS))


def ingestion():
    rate(5)
    ratios = []
    for number in range(5):
        # Whoever comes second finds a larger table: turn about.
        rates = {}
        for state in ["ENABLE", "DISABLE"] if number % 2 else ["DISABLE", "ENABLE"]:
            switch(state)
            rates[state] = rate(options.seconds)
        switch("ENABLE")
        ratios.append(rates["ENABLE"] / rates["DISABLE"])
        print(f"settled a second with sums {rates['ENABLE']:.0f}, without {rates['DISABLE']:.0f}: "
              f"{ratios[-1]:.2f}", flush=True)
    print(f"median {statistics.median(ratios):.2f}")
    psql("-c", "SELECT archiver.recount()")


def main():
    archiver("migrate")
    if psql("-c", "SELECT EXISTS (SELECT FROM archiver.recordings)").strip() == "f":
        began = time.perf_counter()
        psql("-v", f"rows={options.rows}::bigint", "-f", str(HERE / "fill.sql"))
        print(f"filled in {time.perf_counter() - began:.0f} s", flush=True)
    print(psql("-c", "SELECT count(*), pg_size_pretty(pg_total_relation_size('archiver.recordings')) "
                     "FROM archiver.recordings").strip(), flush=True)
    month = psql("-c", "SELECT to_char(now() - interval '20 months', 'YYYY-MM')").strip()
    bounds = ["--from", month, "--to", month]
    query("finance.monthly_costs", "SELECT * FROM finance.monthly_costs")
    query("finance.unit_costs", "SELECT * FROM finance.unit_costs")
    query("finance.monthly_changes", "SELECT * FROM finance.monthly_changes")
    query("finance.session_costs of a month",
          f"SELECT * FROM finance.session_costs WHERE billing_month = '{month}-01'")
    query("finance.recordings of a month",
          f"SELECT * FROM finance.recordings WHERE billing_month = '{month}-01'")
    query("archiver.coverage('90 days')", "SELECT * FROM archiver.coverage('90 days')")
    program("report costs --output csv", "report", "costs", "--output", "csv")
    program("report costs", "report", "costs")
    program("report costs --by session, a month, csv",
            "report", "costs", "--by", "session", *bounds, "--output", "csv")
    program("report costs --by recording, a month, csv",
            "report", "costs", "--by", "recording", *bounds, "--output", "csv")
    program("status", "status")
    program("status --output json", "status", "--output", "json")
    served(month)
    ingestion()
    query("finance.monthly_costs after all that", "SELECT * FROM finance.monthly_costs")
    served(month)
    wrong = psql("-c", "SELECT count(*) FROM archiver.wrong_totals()").strip()
    print(f"{wrong} sums are not those of the rows")


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--url", required=True, help="postgres://… of a database for this alone")
parser.add_argument("--rows", type=int, default=5_000_000)
parser.add_argument("--seconds", type=int, default=10, help="length of each turn of writing")
parser.add_argument("--archiver", default=str(TREE / "target/release/recording-archiver"))
options = parser.parse_args()
options.archiver = os.path.abspath(options.archiver)
main()
