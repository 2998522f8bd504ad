#!/usr/bin/env python3
"""A soak: small and large recordings at a steady pace through a source and a store that fail.

    createdb soak && cargo build --release
    benches/soak.py --url postgres:///soak

The service is the real one (`run`), the source is `simulate`, which lets 5 % of its answers go
wrong in every way it knows, the store is the strict S3 server of the tests, kept in files, in
which 2 % of all calls fail. Chores run all the while, and somebody reads metrics and page.

Every ten seconds a line tells what the service takes: memory, open files, TCP connections,
sessions in Postgres, and what the database has grown to for each recording. At the end every file
in the store is held against its row and against what the source says that it was, nothing
unfinished may be left, and the last quarter of the time is held against the second: the first is
for warming up. Exit code 0: all is right and flat. Within a
few minutes not all sessions of the pool are open yet, and one large recording that meets a slow
answer may look like growth.

Needs psql, an empty database for this alone, and the disk space of all recordings, in target/soak.
"""

import argparse
import hashlib
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

TREE = Path(__file__).resolve().parent.parent
WORK = TREE / "target" / "soak"
MIB = 1024 * 1024
PROJECT, TOKEN = "00000000-0000-4000-8000-000000000000", "PTsoak"
SMALL_KIB = [64, 128, 192, 256]
# Once everything is queued: the longest backoffs of a few unlucky ones, and no more.
ENDS_WITHIN_SECONDS = 1200
GROWTH = 1.2
# Of open files, connections and sessions: so few more are chance.
SLACK = 3

# All that an answer of the API can do, but for 401, which halts all claiming and comes once.
METADATA_FAULTS = """status:404 status:422 status:500 status:502 status:503 throttled:1
throttled:date+1 reset hang html truncated-json empty-body redirect:http://127.0.0.1:9/x
other-recording null-uri uri:http://127.0.0.1:9/x not-ready null-status unknown-status:odd
missing-fields extra-fields wrong-types""".split()
# All that an answer of the media host can do, but for `flipped-byte`: a source that sends another
# byte than it has, under right headers, cannot be seen through.
MEDIA_FAULTS = """status:403 status:404 status:410 status:500 status:503 throttled:1 link-dies
bad-request-expired reset reset-after:10000 cut-after:10000 chunked-cut-after:10000 hang
stall-after:10000 drip:100000 html html-as-media xml-error json-error shorter-by:1000 ignore-range
wrong-content-range short-range:1000 changes etag-changes weak-etag no-validator
redirect:http://127.0.0.1:9/x redirect-loop gzip-claim zero-bytes""".split()
# A range that drips keeps a large recording, and with it all buffers in the pool: at 100 kB a second
# for a minute, so that a quarter of the time is longer.
# Verdicts for good that the faults above bring about: an operator looks, and says `retry`.
FOR_GOOD = {"not_found"}


def tell(text):
    print(text, flush=True)


def psql(statement):
    command = ["psql", options.url, "-qAtX", "-v", "ON_ERROR_STOP=1", "-F", " "]
    # By stdin: a list of recordings may be longer than a command line.
    done = subprocess.run(command, check=True, input=statement, stdout=subprocess.PIPE, text=True)
    return [line.split(" ") for line in done.stdout.splitlines()]


def source_faults():
    """Each kind in turn, so that of all answers of a side this share goes wrong."""
    apart = round(1 / options.source_faults)
    halfway = options.small // 2 + 1
    orders = [f"metadata-status:401,after={halfway}"]
    for side, kinds in [("metadata", METADATA_FAULTS), ("media", MEDIA_FAULTS)]:
        for number, kind in enumerate(kinds, 1):
            orders.append(f"{side}-{kind}x1,after={number * apart}")
            orders.append(f"{side}-{kind},after={number * apart},every={len(kinds) * apart}")
    return [f"--fault=all={order}" for order in orders]


class Process:
    """A program that runs all the while; what it says goes to a file."""

    running = []

    def __init__(self, name, command, environment, **how):
        self.name, self.log = name, WORK / f"{name}.log"
        with open(self.log, "w") as log:
            base = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
            self.process = subprocess.Popen(
                command, cwd=how.pop("cwd", WORK), env=base | environment, stdout=log,
                stderr=subprocess.STDOUT, **({"stdin": subprocess.DEVNULL} | how),
            )
        Process.running.append(self)

    def said(self, pattern, within=60):
        until = time.monotonic() + within
        while time.monotonic() < until and self.process.poll() is None:
            if found := re.search(pattern, self.log.read_text(errors="replace")):
                return found
            time.sleep(0.1)
        sys.exit(f"{self.name} never said {pattern}: see {self.log}")

    def end(self, within=300):
        """Returns its exit code."""
        if self.process.stdin:
            self.process.stdin.close()
        elif self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(within)


def start_store():
    cargo = ["cargo", "test", "--quiet", "--test", "it"]
    environment = {"SQLX_OFFLINE": "true"}
    subprocess.run([*cargo, "--no-run"], check=True, cwd=TREE, env=os.environ | environment)
    environment |= {
        "SOAK_STORE_DIRECTORY": str(WORK),
        "SOAK_STORE_FAULT_SHARE": str(options.store_faults),
        "SOAK_SEED": str(options.seed),
    }
    test = ["--", "--ignored", "--nocapture", "--exact", "soak::a_faulty_store_is_served"]
    store = Process("store", [*cargo, *test], environment, cwd=TREE, stdin=subprocess.PIPE)
    endpoint, directory = store.said(r"soak store: (http\S+) (\S+)\n").groups()
    return store, endpoint, Path(directory)


def start_source():
    command = [options.archiver, "simulate", "--listen", "127.0.0.1:0", "--project-id", PROJECT]
    command += ["--ids-file", WORK / "ids", "--digests-file", WORK / "digests", *source_faults()]
    for kib in SMALL_KIB:
        command.append(f"--recordings={options.small // len(SMALL_KIB)}x{kib}KiB")
    command.append(f"--recordings={options.large}x{options.large_mib}MiB")
    source = Process("source", command, {"SIGNALWIRE_API_TOKEN": TOKEN})
    space = source.said(r"SIGNALWIRE_SPACE=(http\S+)\n")[1]
    source.said(r"size_bytes  name\n")
    return source, space


def environment(space, endpoint):
    given = {
        "DATABASE_URL": options.url, "SIGNALWIRE_SPACE": space,
        "SIGNALWIRE_PROJECT_ID": PROJECT, "SIGNALWIRE_API_TOKEN": TOKEN,
        "AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "AKIAOFTHETESTS",
        "AWS_SECRET_ACCESS_KEY": "SecretKeyOfTheTestsWhichNobodyMaySee",
    }
    settings = {
        "STORAGE_URL": "s3://recordings/video", "HTTP_LISTEN": "127.0.0.1:0",
        "SIGNALWIRE_REQUESTS_PER_SECOND": "1000", "WORKER_CONCURRENCY": "16",
        # An answer that hangs holds a place among those that are worked on.
        "TRANSFER_IDLE_TIMEOUT": "10s",
        "VERIFY_SCHEDULE": "30 * * * * *", "VERIFY_WITHIN": "3h", "SWEEP_SCHEDULE": "0 * * * * *",
    }
    return given | {f"RECORDING_ARCHIVER_{name}": value for name, value in settings.items()}


# --- Load and samples --------------------------------------------------------------------------


def appointments(ids):
    """When each recording is queued, in seconds: small and large ones evenly over the time."""
    small = ids[: -options.large] if options.large else ids
    large = ids[len(small):]
    random.Random(options.seed).shuffle(small)
    due = []
    for kind in (small, large):
        apart = options.minutes * 60 / max(1, len(kind))
        due += [((number + 0.5) * apart, it) for number, it in enumerate(kind)]
    return sorted(due)


def tcp_connections(pid):
    """Of this process alone, in whatever state but listening."""
    sockets = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            sockets.add(os.readlink(link).removeprefix("socket:[").rstrip("]"))
        except FileNotFoundError:
            pass
    rows = []
    for table in ("tcp", "tcp6"):
        rows += [line.split() for line in open(f"/proc/{pid}/net/{table}").readlines()[1:]]
    return sum(row[9] in sockets and row[3] != "0A" for row in rows)


def sample(pid, base_bytes):
    status = Path(f"/proc/{pid}/status").read_text()
    [[queued, archived, failed, dead, size, sessions]] = psql(
        "SELECT count(*), count(*) FILTER (WHERE state = 'archived'),"
        " count(*) FILTER (WHERE state = 'failed'),"
        " (SELECT coalesce(sum(n_dead_tup), 0) FROM pg_stat_user_tables),"
        " pg_database_size(current_database()),"
        " (SELECT count(*) FROM pg_stat_activity"
        "   WHERE datname = current_database() AND pid <> pg_backend_pid())"
        " FROM archiver.recordings"
    )
    return {
        "queued": int(queued), "archived": int(archived), "failed": int(failed),
        "memory MiB": int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024,
        "files": len(os.listdir(f"/proc/{pid}/fd")),
        "TCP": tcp_connections(pid), "sessions": int(sessions),
        "KiB/recording": (int(size) - base_bytes) / max(1, int(queued)) / 1024,
        "dead rows": int(dead),
    }


def look(address):
    """As Prometheus and a person do."""
    for path in ("metrics", ""):
        with urllib.request.urlopen(f"{address}/{path}", timeout=30) as answer:
            answer.read()


def load(pid, address, ids):
    """Queues all recordings in their time; returns the samples of it."""
    [[base_bytes]] = psql("SELECT pg_database_size(current_database())")
    due, samples, began = appointments(ids), [], time.monotonic()
    while due or time.monotonic() - began < options.minutes * 60:
        now = time.monotonic() - began
        ripe = [it for at, it in due if at <= now]
        due = due[len(ripe):]
        if ripe:
            psql("INSERT INTO archiver.recordings (recording_id) "
                 f"SELECT unnest('{{{','.join(ripe)}}}'::uuid[]) ON CONFLICT DO NOTHING")
        if now >= len(samples) * options.every:
            look(address)
            samples.append(sample(pid, int(base_bytes)))
            if len(samples) == 1:
                tell("".join(f"{name:>15}" for name in ["seconds", *samples[0]]))
            values = [f"{value:.1f}" if isinstance(value, float) else str(value)
                      for value in samples[-1].values()]
            tell("".join(f"{value:>15}" for value in [f"{now:.0f}", *values]))
        time.sleep(1)
    return samples


def settle(settings, wrong):
    """Waits until every recording is archived; says `retry` where an operator would."""
    until, retried = time.monotonic() + ENDS_WITHIN_SECONDS, 0
    while time.monotonic() < until:
        kinds = {kind: int(count) for kind, count in psql(
            "SELECT error_kind, count(*) FROM archiver.recordings WHERE state = 'failed' GROUP BY 1")}
        retried += sum(kinds.values())
        for kind, count in kinds.items():
            if kind not in FOR_GOOD:
                wrong.append(f"{count} recordings failed for good: {kind}")
            archiver(settings, "retry", "--failed", "--kind", kind)
        [[left]] = psql("SELECT count(*) FROM archiver.recordings WHERE state <> 'archived'")
        if left == "0":
            return tell(f"all archived; of those {retried} had to be told to try again")
        time.sleep(2)
    wrong.append(f"{left} recordings are not archived {ENDS_WITHIN_SECONDS} s after the last one")


def archiver(settings, *arguments):
    environment = {"PATH": os.environ["PATH"], **settings}
    return subprocess.run([options.archiver, *arguments], cwd=WORK, env=environment, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


# --- Judgement ---------------------------------------------------------------------------------


def grew(before, after, slack):
    return after > before * GROWTH and after > before + slack


def demand_flat(samples, wrong):
    quarter = len(samples) // 4
    tell(f"\n{'':15}{'2nd quarter':>15}{'last quarter':>15}{'most':>15}")
    for name in ["memory MiB", "files", "TCP", "sessions", "KiB/recording"]:
        values = [it[name] for it in samples]
        before, after = values[quarter : 2 * quarter], values[-quarter:]
        medians = [statistics.median(it) for it in (before, after)]
        tell(f"{name:15}{medians[0]:15.1f}{medians[1]:15.1f}{max(values):15.1f}")
        slack = SLACK if isinstance(values[0], int) else 0
        # What grows does so at its lowest too; an allocator that gives back late does not.
        if grew(*medians, slack) and grew(min(before), min(after), slack):
            wrong.append(f"{name} grew from {medians[0]:.1f} to {medians[1]:.1f}")


def demand_true_objects(bucket, wrong):
    """Every file by itself: against its row, and against the source."""
    digests = (line.split() for line in (WORK / "digests").read_text().splitlines())
    truth = {recording_id: sha256 for sha256, recording_id in digests}
    expected, sums = set(), 0
    for recording_id, key, sha256, size in psql(
        "SELECT recording_id, object_key, encode(sha256, 'hex'), size_bytes FROM archiver.recordings"
        " WHERE state = 'archived'"
    ):
        path = bucket / key
        expected |= {path, path.with_name(f"{path.name}.manifest.json")}
        with open(path, "rb") as stored:
            found = hashlib.file_digest(stored, "sha256").hexdigest()
        sums += path.stat().st_size
        if not found == sha256 == truth[recording_id] or path.stat().st_size != int(size):
            wrong.append(f"{recording_id}: stored {found}, on record {sha256}, "
                         f"at the source {truth[recording_id]}")
    present = {path for path in bucket.rglob("*") if path.is_file()}
    for path in sorted(present ^ expected):
        wrong.append(f"{path} is {'not expected' if path in present else 'missing'}")
    tell(f"{len(truth)} recordings at the source, {len(expected) // 2} objects of "
         f"{sums / 1024 / MIB:.1f} GiB with their manifests, each read and held against both")
    if len(expected) // 2 != len(truth):
        wrong.append("not as many objects as recordings")


def demand_nothing_left(root, wrong):
    """Of uploads, in the store's files and on record; and no row may tell of trouble."""
    wrong += [f"{path.name} is left in the store" for path in root.iterdir()
              if path.name.startswith((".upload", ".tmp")) or ".upload-" in path.name]
    for what, where in [
        ("uploads on record", "uploads"),
        ("parts on record", "upload_parts"),
        ("leases", "recordings WHERE lease_token IS NOT NULL"),
        ("archived recordings with an error",
         "recordings WHERE error_kind IS NOT NULL OR damage_found_at IS NOT NULL"),
        ("sums of costs that are not those of the rows", "wrong_totals()"),
    ]:
        [[count]] = psql(f"SELECT count(*) FROM archiver.{where}")
        if count != "0":
            wrong.append(f"{count} {what}")


def demand_quiet_log(service, wrong):
    """Errors are only what the faults bring about."""
    for line in service.log.read_text(errors="replace").splitlines():
        kind = re.search(r'error\.kind="(\w+)"', line)
        expected = kind and kind[1] in FOR_GOOD | {"unauthorized"}
        if "panicked" in line or " ERROR " in line and not expected:
            wrong.append(f"in {service.log}: {line}")


def tell_attempts():
    tell("\nattempts by outcome and error kind:")
    for count, outcome, kind in psql(
        "SELECT count(*), outcome, coalesce(error_kind, '-') FROM archiver.attempts"
        " GROUP BY 2, 3 ORDER BY 1 DESC"
    ):
        tell(f"{count:>10}  {outcome} {kind}")


def main():
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    needed = (options.small * sum(SMALL_KIB) // len(SMALL_KIB) * 1024
              + (options.large + 2) * options.large_mib * MIB)
    if shutil.disk_usage(WORK).free < needed * 1.2:
        sys.exit(f"{WORK} needs {needed * 1.2 / 1024 / MIB:.0f} GiB; take less with --small, --large")
    if psql("SELECT to_regclass('archiver.recordings')") != [[""]]:
        sys.exit(f"{options.url} is not empty")
    wrong = []
    store, endpoint, root = start_store()
    source, space = start_source()
    settings = environment(space, endpoint)
    service = Process("service", [options.archiver, "run"], settings)
    address = service.said(r"health and metrics on (http\S+)")[1]
    service.said(r"ready")
    samples = load(service.process.pid, address, (WORK / "ids").read_text().split())
    settle(settings, wrong)
    for process in (service, source):
        if code := process.end():
            wrong.append(f"{process.name} ended with {code}: see {process.log}")
    demand_quiet_log(service, wrong)
    # Nobody knows of an upload whose beginning was answered and the answer lost: a sweep finds it.
    store.process.stdin.write(b"\n")
    store.process.stdin.flush()
    tell(f"\n{store.said(r'[0-9]+ faults in [0-9]+ calls')[0]} of the store")
    for _ in range(10):
        swept = archiver(settings, "sweep")
        if swept.returncode == 0:
            break
    tell(f"sweep: {swept.stdout.splitlines()[-1]}")
    demand_nothing_left(root, wrong)
    demand_true_objects(root / "recordings", wrong)
    tell_attempts()
    demand_flat(samples, wrong)
    if store.end():
        wrong.append(f"the store did not end well: see {store.log}")
    tell("\n" + ("\n".join(["WRONG:", *wrong[:50]]) if wrong else "all right, and flat"))
    return 1 if wrong else 0


parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
add = parser.add_argument
add("--url", required=True, help="postgres://… of an empty database for this alone")
add("--minutes", type=float, default=30, help="how long recordings come (default: 30)")
add("--small", type=int, default=50_000, help="recordings of 64 to 256 KiB (default: 50000)")
add("--large", type=int, default=20, help="large recordings (default: 20)")
add("--large-mib", type=int, default=256, help="of so many MiB (default: 256)")
add("--source-faults", type=float, default=0.05, metavar="SHARE", help="default: 0.05")
add("--store-faults", type=float, default=0.02, metavar="SHARE", help="default: 0.02")
add("--seed", type=int, default=1, help="of all that is chance in load and store (default: 1)")
add("--every", type=float, default=10, metavar="SECONDS", help="between samples (default: 10)")
add("--archiver", type=Path, default=TREE / "target/release/recording-archiver", metavar="PATH")
options = parser.parse_args()
options.archiver = options.archiver.resolve()
options.small -= options.small % len(SMALL_KIB)
try:
    code = main()
finally:
    for process in Process.running:
        process.end()
sys.exit(code)
