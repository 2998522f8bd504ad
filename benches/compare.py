#!/usr/bin/env python3
"""Puts `recording-archiver` beside other ways of bringing a file home: same files, same store, in
alternating runs on this machine, over loopback.

    cargo build --release && benches/compare.py

nginx is the provider (API and media), a sink that throws away is the store (benches/sink.rs), a
throw-away Postgres the queue. What is missing is installed: nginx, rclone, curl and postgresql
from Debian's packages, requests, boto3 and awscli into target/bench-venv. All of it listens on
127.0.0.1 only and is stopped at the end.

A ratio compares two runs of the same round, the median of all rounds is shown: machines are
faster at one time than at another. CPU and memory are those of the measured tool with its
children, not of nginx, sink and Postgres; all compete for the same cores. Times are those of whole
processes, from start to exit.

With --endpoint the store is a real one, Garage for example, keys and region from AWS_*; then no
relay runs (it does not sign), and the objects stay there.
"""

import argparse
import base64
import contextlib
import hashlib
import http.client
import json
import os
import pwd
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
WORK = ROOT / "target" / "bench"
VENV = ROOT / "target" / "bench-venv"
MIB = 1024 * 1024
PROJECT, TOKEN = "00000000-0000-4000-8000-000000000000", "PTbench"
PREFIX = "bench"
SMALL_SIZE, SMALL_COUNT = 256 * 1024, 2000
SLOW_BYTES_PER_SECOND = 20_000_000
COUNTERS = ["count_new", "count_changed", "count_deleted"]
BREAK_EVERY = 5
# Nothing here takes this long unless it hangs.
RUN_LIMIT_SECONDS = 900
PACKAGES = {"nginx": "nginx", "rclone": "rclone", "curl": "curl", "openssl": "openssl"}
RUST_PROGRAMS = ("sink", "relay", "breaking_proxy")


class Failed(Exception):
    """A run that did not do its work: there is nothing to measure."""


# --- The works ---------------------------------------------------------------------------------


@dataclass
class Contestant:
    """A tool with its settings; `tool` is the name of a method of Bench that prepares a run."""

    label: str
    tool: str
    world: str
    files: int = 1
    settings: dict = field(default_factory=dict)


@dataclass
class Target:
    """What is asked of one contestant; `value` and `met` are given its Numbers."""

    text: str
    label: str
    met: Callable
    value: Callable


@dataclass
class Work:
    name: str
    title: str
    # The first is the yardstick: its ratio is 1.
    contestants: list
    targets: list


def at_least(text, label, value, least):
    return Target(f"{text} >= {least}", label, lambda n: value(n) >= least, value)


def at_most(text, label, value, most):
    return Target(f"{text} <= {most}", label, lambda n: value(n) <= most, value)


def faster_than(other):
    return lambda numbers: median(numbers.against(other))


def connections(count):
    return {"RECORDING_ARCHIVER_TRANSFER_CONNECTIONS": str(count)}


WORKS = [
    Work(
        "transfer",
        "one file, over HTTP",
        [
            Contestant("relay", "relay", "big"),
            Contestant("recording-archiver", "archiver", "big"),
            Contestant("rclone copyurl", "rclone", "big"),
            Contestant("curl | aws s3 cp -", "curl_aws", "big"),
            Contestant("requests + boto3", "baseline", "big"),
        ],
        [
            at_least("of the relay", "recording-archiver", faster_than("relay"), 0.85),
            at_least("of rclone", "recording-archiver", faster_than("rclone copyurl"), 2.0),
            at_most("CPU s/GiB", "recording-archiver", lambda n: n.cpu_per_gib(), 1.9),
        ],
    ),
    Work(
        "memory",
        "peak memory, one file and eight at once",
        [
            Contestant("archiver, 1 file", "archiver", "big"),
            Contestant("archiver, 8 files", "archiver", "big", files=8),
        ],
        [
            at_most("peak MiB", "archiver, 1 file", lambda n: n.peak_mib(), 64),
            at_most("peak MiB", "archiver, 8 files", lambda n: n.peak_mib(), 160),
        ],
    ),
    Work(
        "tls",
        "one file, over HTTPS from the source",
        [
            Contestant("rclone copyurl", "rclone", "tls"),
            Contestant("recording-archiver", "archiver", "tls"),
            Contestant("curl | aws s3 cp -", "curl_aws", "tls"),
            Contestant("requests + boto3", "baseline", "tls"),
        ],
        [at_least("of rclone", "recording-archiver", faster_than("rclone copyurl"), 1.8)],
    ),
    Work(
        "slow-source",
        f"one file from a source that gives {SLOW_BYTES_PER_SECOND / 1e6:.0f} MB/s per connection",
        [
            Contestant("1 connection", "archiver", "slow", settings=connections(1)),
            Contestant("4 connections", "archiver", "slow", settings=connections(4)),
            Contestant("8 connections", "archiver", "slow", settings=connections(8)),
        ],
        [
            at_least("of one", "4 connections", faster_than("1 connection"), 3.6),
            at_least("of one", "8 connections", faster_than("1 connection"), 7.0),
        ],
    ),
    Work(
        "small-files",
        f"{SMALL_COUNT} files of 256 KiB through the queue",
        [
            Contestant("requests + boto3, 8 threads", "baseline", "small", files=SMALL_COUNT),
            Contestant("recording-archiver", "archiver_queue", "small", files=SMALL_COUNT),
        ],
        [at_least("files/s", "recording-archiver", lambda n: n.files_per_second(), 500)],
    ),
    Work(
        "sums",
        f"the same {SMALL_COUNT} files, without and with the sums that finance reads",
        [
            Contestant("without sums", "archiver_without_sums", "small", files=SMALL_COUNT),
            Contestant("with sums", "archiver_with_sums", "small", files=SMALL_COUNT),
        ],
        [at_least("of without", "with sums", faster_than("without sums"), 0.9)],
    ),
    Work(
        "broken",
        f"one file, each {BREAK_EVERY}th answer with a range broken off in the middle",
        [
            Contestant("without faults", "archiver", "proxied"),
            Contestant("with faults", "archiver", "broken"),
        ],
        [
            at_most(
                "times as long",
                "with faults",
                lambda n: 1 / median(n.against("without faults")),
                1.25,
            )
        ],
    ),
]


# --- Measuring ---------------------------------------------------------------------------------


@dataclass
class Sample:
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    output: str


@dataclass
class Numbers:
    """The samples of one contestant, and those of all to compare with."""

    everybody: dict
    files: int
    file_bytes: int
    samples: dict = field(default_factory=dict)  # by round

    def seconds(self):
        return [sample.seconds for sample in self.samples.values()]

    def against(self, label):
        """How many times as fast as another, by bytes a second, round by round."""
        other = self.everybody[label]
        work = self.total_bytes() / other.total_bytes()
        rounds = [number for number in self.samples if number in other.samples]
        return [work * other.samples[n].seconds / self.samples[n].seconds for n in rounds]

    def total_bytes(self):
        return self.files * self.file_bytes

    def cpu_per_gib(self):
        cpu = median([sample.cpu_seconds for sample in self.samples.values()])
        return cpu / (self.total_bytes() / (1024 * MIB))

    def peak_mib(self):
        return max(sample.peak_bytes for sample in self.samples.values()) / MIB

    def files_per_second(self):
        return self.files / median(self.seconds())


def median(values):
    if not values:
        raise Failed("nothing to compare with")
    values, middle = sorted(values), len(values) // 2
    return values[middle] if len(values) % 2 else sum(values[middle - 1 : middle + 1]) / 2


def own_peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(steps, log):
    """Runs pipelines one after the other; sums CPU time, with that of children's children."""
    output, cpu_seconds, peak_bytes = "", 0.0, 0
    began = time.monotonic()
    for pipeline, environment, stdin in steps:
        with tempfile.TemporaryFile() as stdout, contextlib.ExitStack() as cleanup:
            processes = []
            source = cleanup.enter_context(tempfile.TemporaryFile())
            source.write(stdin.encode())
            source.seek(0)
            for number, command in enumerate(pipeline):
                last = number == len(pipeline) - 1
                process = subprocess.Popen(
                    command,
                    env=environment,
                    cwd=WORK,
                    stdin=source,
                    stdout=stdout if last else subprocess.PIPE,
                    stderr=log,
                )
                cleanup.callback(kill, process)
                processes.append(process)
                source = process.stdout
                if not last:
                    cleanup.callback(process.stdout.close)
            # Only the reader may hold the pipe, or the writer never learns of its end.
            for process in processes[:-1]:
                process.stdout.close()
            limit = threading.Timer(RUN_LIMIT_SECONDS, lambda: [kill(p) for p in processes])
            limit.start()
            cleanup.callback(limit.cancel)
            for process in processes:
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
                cpu_seconds += usage.ru_utime + usage.ru_stime
                peak_bytes = max(peak_bytes, usage.ru_maxrss * 1024)
            stdout.seek(0)
            output += stdout.read().decode()
            for command, process in zip(pipeline, processes):
                if process.returncode != 0:
                    raise Failed(f"{Path(command[0]).name} ended with {process.returncode}")
    return Sample(time.monotonic() - began, cpu_seconds, peak_bytes, output)


def kill(process):
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


# --- What has to be there ----------------------------------------------------------------------


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port):
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                sys.exit(f"nobody listens on port {port}: see {WORK}")
            time.sleep(0.05)


def postgres_programs():
    found = shutil.which("postgres")
    if found:
        return Path(found).resolve().parent
    # Debian keeps the server's programs off the path.
    folders = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    versions = sorted(folders, key=lambda path: float(path.parent.parent.name))
    return versions[-1].parent if versions else None


def install_what_is_missing():
    missing = [package for command, package in PACKAGES.items() if not shutil.which(command)]
    if not postgres_programs():
        missing.append("postgresql")
    if missing:
        installer = ROOT / ".ci" / "packages"
        if not installer.exists():
            sys.exit(f"missing: {' '.join(missing)}")
        subprocess.run([installer, *missing], check=True, stdout=sys.stderr)
    if not (VENV / "bin" / "aws").exists():
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
        pip = [VENV / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "requests", "boto3", "awscli"], check=True)


def build_rust_programs():
    command = ["cargo", "build", "--release", "--message-format=json-render-diagnostics"]
    for name in RUST_PROGRAMS:
        command += ["--bench", name]
    built = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    programs = {}
    for line in built.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] in RUST_PROGRAMS:
            programs[message["target"]["name"]] = message["executable"]
    return programs


def make_media(path, size):
    """Bytes that do not compress, behind the header of an MP4; returns their SHA-256."""
    if not path.exists() or path.stat().st_size != size:
        with open(path, "wb") as file:
            head = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"
            file.write(head[: min(size, len(head))])
            while file.tell() < size:
                file.write(os.urandom(min(MIB, size - file.tell())))
    sha256 = hashlib.sha256()
    with open(path, "rb") as file:  # into the page cache as well
        while chunk := file.read(MIB):
            sha256.update(chunk)
    return sha256.hexdigest()


class Bench:
    """The servers, and how each tool is run against them."""

    def __init__(self, options, cleanup):
        self.options, self.cleanup = options, cleanup
        install_what_is_missing()
        if options.programs:
            folder = Path(options.programs).resolve()
            self.programs = {name: str(folder / name) for name in RUST_PROGRAMS}
        else:
            self.programs = build_rust_programs()
        self.archiver_program = str(Path(options.archiver).resolve())
        if not os.access(self.archiver_program, os.X_OK):
            sys.exit(f"{self.archiver_program} is not there: cargo build --release")
        WORK.mkdir(parents=True, exist_ok=True)
        self.log = cleanup.enter_context(open(WORK / "tools.log", "wb"))
        self.sizes = {"big": options.size, "small": SMALL_SIZE}
        self.digests = {k: make_media(WORK / f"{k}.mp4", size) for k, size in self.sizes.items()}
        self.start_store()
        self.start_provider()
        self.start_postgres()
        self.migrate()

    def start(self, command, **how):
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stderr=self.log, cwd=WORK, **how
        )

        def stop():
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

        self.cleanup.callback(stop)
        return process

    def start_announced(self, command):
        """Starts one of our own servers, which tells its address on stdout."""
        process = self.start(command, stdout=subprocess.PIPE)
        address = process.stdout.readline().decode().strip()
        if not address:
            sys.exit(f"{command[0]} did not start: see {WORK}")
        return address

    def start_store(self):
        self.sink = None
        self.endpoint = (self.options.endpoint or "").rstrip("/")
        if not self.endpoint:
            self.sink = self.start_announced([self.programs["sink"], "127.0.0.1:0"])
            self.endpoint = f"http://{self.sink}"

    def start_provider(self):
        subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
        kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        names = ["-keyout", WORK / "tls.key", "-out", WORK / "tls.crt", "-days", "30"]
        leaf = ["-addext", "basicConstraints=critical,CA:FALSE"]
        command = ["openssl", "req", *kind, *names, *subject, *leaf]
        subprocess.run(command, check=True, stderr=self.log)

        plain, tls = free_port(), free_port()
        proxy = [self.programs["breaking_proxy"], "127.0.0.1:0", f"127.0.0.1:{plain}"]
        slow = self.start_announced([*proxy, "--bytes-per-second", str(SLOW_BYTES_PER_SECOND)])
        proxied = self.start_announced(proxy)
        broken = self.start_announced([*proxy, "--break-every", str(BREAK_EVERY)])
        # Where the media of each world are, and what they are.
        self.media = {
            "big": (f"http://127.0.0.1:{plain}", "big"),
            "small": (f"http://127.0.0.1:{plain}", "small"),
            "tls": (f"https://127.0.0.1:{tls}", "big"),
            "slow": (f"http://{slow}", "big"),
            "proxied": (f"http://{proxied}", "big"),
            "broken": (f"http://{broken}", "big"),
        }
        self.api = {world: free_port() for world in self.media}
        config = WORK / "nginx.conf"
        config.write_text(self.nginx_config(plain, tls))
        self.start(["nginx", "-p", WORK, "-c", config, "-e", WORK / "nginx.log"])
        for port in (plain, tls, *self.api.values()):
            wait_for_port(port)

    def nginx_config(self, plain, tls):
        basic = base64.b64encode(f"{PROJECT}:{TOKEN}".encode()).decode()
        servers = ""
        for world, port in self.api.items():
            servers += f"""
    server {{
        listen 127.0.0.1:{port};
        default_type application/json;
        if ($http_authorization != "Basic {basic}") {{ return 401; }}
        location ~ ^/api/video/room_recordings/(?<id>[0-9a-f-]+)$ {{
            return 200 '{self.metadata(world)}';
        }}
        location = /api/video/room_recordings {{ return 200 '{{"links":{{}},"data":[]}}'; }}
    }}"""
        return f"""
{"user root;" if os.geteuid() == 0 else ""}
daemon off;
pid nginx.pid;
error_log nginx.log;
worker_processes 2;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    open_file_cache max=16;
    client_body_temp_path temp;
    proxy_temp_path temp;
    fastcgi_temp_path temp;
    uwsgi_temp_path temp;
    scgi_temp_path temp;
    server {{
        listen 127.0.0.1:{plain};
        listen 127.0.0.1:{tls} ssl;
        ssl_certificate tls.crt;
        ssl_certificate_key tls.key;
        default_type video/mp4;
        location ~ ^/media/(?<kind>big|small)/ {{ alias "{WORK}/$kind.mp4"; }}
    }}
{servers}
}}
"""

    def metadata(self, world):
        media, kind = self.media[world]
        fields = {
            "id": "$id",
            "room_session_id": "a1b2c3d4-5e6f-7890-abcd-ef1234567890",
            "status": "completed",
            "started_at": "2022-01-01T10:00:00Z",
            "finished_at": "2022-01-01T11:00:00Z",
            "duration": 3600,
            "size_in_bytes": self.sizes[kind],
            "format": "video/mp4",
            "cost_in_dollars": 0.05,
            "uri": f"{media}/media/{kind}/$id.mp4?expires=1&signature=none",
            "created_at": "2022-01-01T10:00:00Z",
            "updated_at": "2022-01-01T11:00:00Z",
        }
        return json.dumps(fields)

    def start_postgres(self):
        programs, as_user, folder = postgres_programs(), {}, WORK
        if os.geteuid() == 0:
            # Postgres refuses to run as root, and its user may not be let into this directory.
            postgres = pwd.getpwnam("postgres")
            as_user = {"user": postgres.pw_uid, "group": postgres.pw_gid, "extra_groups": []}
            if subprocess.run(["test", "-x", WORK], cwd="/", **as_user).returncode != 0:
                folder = Path(tempfile.gettempdir())
        folder = Path(tempfile.mkdtemp(prefix="postgres-", dir=folder))
        self.cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
        if as_user:
            os.chown(folder, as_user["user"], as_user["group"])
        as_user["cwd"] = folder
        data, port = folder / "data", free_port()
        command = [programs / "initdb", "--pgdata", data, "--username=bench", "--auth=trust"]
        subprocess.run(command, check=True, stdout=self.log, stderr=self.log, **as_user)
        command = [programs / "postgres", "-D", data, "-k", folder, "-p", str(port)]
        command += ["-c", "listen_addresses=127.0.0.1"]
        del as_user["cwd"]
        self.start(command, **as_user)
        wait_for_port(port)
        self.database_url = f"postgres://bench@127.0.0.1:{port}/postgres"

    def migrate(self):
        for _ in range(50):  # it listens before it lets in
            command = [self.archiver_program, "migrate"]
            how = {"env": self.archiver_environment("big"), "cwd": WORK}
            if subprocess.run(command, stdout=self.log, stderr=self.log, **how).returncode == 0:
                return
            time.sleep(0.1)
        sys.exit(f"the archiver cannot migrate the database: see {WORK}")

    # --- The tools: each returns the steps of a run, and which files it has to bring home ---

    def environment(self, **more):
        """Nothing of the caller's surroundings may change a run, but for a real store's keys."""
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(WORK),
            "LANG": "C.UTF-8",
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench",
            "AWS_REGION": "us-east-1",
        }
        if not self.sink:
            environment |= {k: os.environ[k] for k in environment if k in os.environ}
            environment["HOME"] = str(WORK)
        environment["AWS_DEFAULT_REGION"] = environment["AWS_REGION"]
        environment["AWS_ENDPOINT_URL"] = self.endpoint
        return environment | more

    def trusting(self, world, variable):
        """Only where nginx shows its certificate: a real store's must be trusted as usual."""
        return {variable: str(WORK / "tls.crt")} if world == "tls" else {}

    def archiver_environment(self, world):
        return self.environment(
            DATABASE_URL=self.database_url,
            SIGNALWIRE_SPACE=f"http://127.0.0.1:{self.api[world]}",
            SIGNALWIRE_PROJECT_ID=PROJECT,
            SIGNALWIRE_API_TOKEN=TOKEN,
            RECORDING_ARCHIVER_SIGNALWIRE_REQUESTS_PER_SECOND="100000",
            RECORDING_ARCHIVER_STORAGE_URL=f"s3://{self.options.bucket}/{PREFIX}",
            RECORDING_ARCHIVER_HTTP_LISTEN="off",
            **self.trusting(world, "SSL_CERT_FILE"),
            **dict(setting.split("=", 1) for setting in self.options.set),
        )

    def archiver(self, contestant, ids):
        environment = self.archiver_environment(contestant.world) | contestant.settings
        # A fault may end an attempt: what counts is when the file is home.
        command = [self.archiver_program, "archive", "--ids-file", "-", "--wait", "10m"]
        return [([[*command, "--output", "jsonl"]], environment, "\n".join(ids))]

    def archiver_queue(self, contestant, ids):
        environment = self.archiver_environment(contestant.world) | contestant.settings
        enqueue = [self.archiver_program, "enqueue", "--ids-file", "-"]
        run = [self.archiver_program, "run", "--once"]
        return [([enqueue], environment, "\n".join(ids)), ([run], environment, "")]

    def archiver_without_sums(self, contestant, ids):
        return self.archiver_counting(contestant, ids, "DISABLE")

    def archiver_with_sums(self, contestant, ids):
        return self.archiver_counting(contestant, ids, "ENABLE")

    def archiver_counting(self, contestant, ids, counting):
        """The queue with the triggers that keep the sums, or without; switching is part of both."""

        def switch(state):
            statements = [f"ALTER TABLE archiver.recordings {state} TRIGGER {it}" for it in COUNTERS]
            return ([["psql", self.database_url, "-qXc", "; ".join(statements)]], self.environment(), "")

        return [switch(counting), *self.archiver_queue(contestant, ids), switch("ENABLE")]

    def baseline(self, contestant, ids):
        environment = self.environment(
            API=f"http://127.0.0.1:{self.api[contestant.world]}",
            SIGNALWIRE_PROJECT_ID=PROJECT,
            SIGNALWIRE_API_TOKEN=TOKEN,
            BUCKET=self.options.bucket,
            PREFIX=PREFIX,
            THREADS="8",
            **self.trusting(contestant.world, "REQUESTS_CA_BUNDLE"),
        )
        command = [VENV / "bin" / "python", HERE / "baseline.py"]
        return [([command], environment, "\n".join(ids))]

    def relay(self, contestant, ids):
        target = f"{self.endpoint}/{self.options.bucket}/{quote(self.key(ids[0]))}"
        command = [self.programs["relay"], self.link(contestant, ids[0]), target]
        return [([command], self.environment(), "")]

    def rclone(self, contestant, ids):
        environment = self.environment(**self.trusting(contestant.world, "RCLONE_CA_CERT"))
        environment |= {
            "RCLONE_CONFIG": os.devnull,
            "RCLONE_S3_PROVIDER": "Other",
            "RCLONE_S3_ENDPOINT": self.endpoint,
            "RCLONE_S3_REGION": environment["AWS_REGION"],
            "RCLONE_S3_ENV_AUTH": "true",
            "RCLONE_S3_NO_CHECK_BUCKET": "true",
        }
        target = f":s3:{self.options.bucket}/{self.key(ids[0])}"
        command = ["rclone", "copyurl", self.link(contestant, ids[0]), target]
        return [([command], environment, "")]

    def curl_aws(self, contestant, ids):
        link = self.link(contestant, ids[0])
        curl = ["curl", "--silent", "--show-error", "--fail", "--cacert", WORK / "tls.crt", link]
        target = f"s3://{self.options.bucket}/{self.key(ids[0])}"
        aws = [VENV / "bin" / "aws", "s3", "cp", "-", target]
        size = ["--expected-size", str(self.sizes["big"])]
        return [([curl, [*aws, *size, "--only-show-errors"]], self.environment(), "")]

    def link(self, contestant, recording_id):
        media, kind = self.media[contestant.world]
        return f"{media}/media/{kind}/{recording_id}.mp4?expires=1&signature=none"

    def key(self, recording_id):
        return f"{PREFIX}/year=2022/month=01/day=01/{recording_id}.mp4"

    # --- One run ---

    def run(self, contestant):
        """Brings files home under IDs that nobody knew before, and looks whether they are there."""
        ids = [str(uuid.uuid4()) for _ in range(contestant.files)]
        kind = self.media[contestant.world][1]
        steps = getattr(self, contestant.tool)(contestant, ids)
        logged = os.fstat(self.log.fileno()).st_size
        sample = measure(steps, self.log)
        if contestant.world == "broken":
            with open(self.log.name, "rb") as log:
                log.seek(logged)
                if b"broken off" not in log.read():
                    # A tool that asks for few ranges meets a fault in some rounds only.
                    raise Failed("no answer was broken off")
        digests = re.findall(r"\b[0-9a-f]{64}\b", sample.output)
        if any(digest != self.digests[kind] for digest in digests):
            raise Failed("other bytes came than were sent")
        if self.sink:
            connection = http.client.HTTPConnection(self.sink)
            # All of a few, some of many.
            for recording_id in ids[:: max(1, len(ids) // 8)]:
                path = quote(f"/{self.options.bucket}/{self.key(recording_id)}")
                connection.request("HEAD", path)
                answer = connection.getresponse()
                answer.read()
                found = answer.headers["Content-Length"]
                if answer.status != 200 or found != str(self.sizes[kind]):
                    raise Failed(f"the store answers {answer.status}, {found} bytes")
            connection.close()
        return sample


# --- Rounds and tables -------------------------------------------------------------------------


def compete(bench, work):
    """All rounds of a work; returns the numbers of each contestant by its label."""
    everybody = {}
    for contestant in work.contestants:
        if contestant.tool == "relay" and not bench.sink:
            continue
        size = bench.sizes[bench.media[contestant.world][1]]
        everybody[contestant.label] = Numbers(everybody, contestant.files, size)
    present = [it for it in work.contestants if it.label in everybody]
    for number in range(bench.options.rounds):
        # Another one begins each time: what a run leaves behind is met by the next one.
        first = number % len(present)
        for contestant in present[first:] + present[:first]:
            said = f"{work.name}, round {number + 1}, {contestant.label}"
            try:
                sample = bench.run(contestant)
            except Failed as error:
                say(f"{said}: FAILED: {error}")
                continue
            everybody[contestant.label].samples[number] = sample
            say(f"{said}: {sample.seconds:.2f} s")
    return everybody


def rows(work, everybody):
    yardstick = next(iter(everybody))
    for label, numbers in everybody.items():
        if not numbers.samples:
            yield [work.name, label, "failed", "", "", "", "", ""]
            continue
        seconds = numbers.seconds()
        ratios = numbers.against(yardstick)
        peak, floor = numbers.peak_mib(), own_peak_bytes() / MIB
        yield [
            work.name,
            label,
            f"{median(seconds):.2f} ({min(seconds):.2f}-{max(seconds):.2f})",
            f"{numbers.total_bytes() / median(seconds) / 1e6:.0f}",
            f"{numbers.files_per_second():.0f}" if numbers.files > 8 else "",
            f"{median(ratios):.2f}" if ratios else "",
            f"{numbers.cpu_per_gib():.2f}",
            # A child is born with its parent's peak.
            f"{'<' if peak <= floor else ''}{peak:.0f}",
        ]


HEADER = ["work", "tool", "seconds (range)", "MB/s", "files/s", "ratio", "CPU s/GiB", "peak MiB"]


def table(lines, markdown):
    lines = [HEADER, *lines]
    if markdown:
        lines = [[cell.replace("|", r"\|") for cell in line] for line in lines]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADER))]
    texts = []
    for line in lines:
        cells = [
            cell.ljust(width) if column < 3 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths))
        ]
        texts.append(f"| {' | '.join(cells)} |" if markdown else "  ".join(cells).rstrip())
    if markdown:
        rule = ["-" * width if n < 3 else "-" * (width - 1) + ":" for n, width in enumerate(widths)]
        texts.insert(1, f"| {' | '.join(rule)} |")
    return "\n".join(texts)


def verdicts(work, everybody):
    for target in work.targets:
        try:
            value = target.value(everybody[target.label])
            met = "met" if target.met(everybody[target.label]) else "MISSED"
            yield f"{work.name}: {target.label}: {target.text}: {value:.2f}, {met}"
        except (Failed, KeyError, ValueError):
            yield f"{work.name}: {target.label}: {target.text}: not measured"


def versions():
    for command in (["nginx", "-v"], ["rclone", "version"], [VENV / "bin" / "aws", "--version"]):
        said = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        yield said.stdout.splitlines()[0].removeprefix("nginx version: ")


def say(text):
    print(text, file=sys.stderr, flush=True)


def size(text):
    found = re.fullmatch(r"([1-9]\d*)(MiB|GiB)", text)
    if not found:
        raise argparse.ArgumentTypeError("write it as 64MiB or 1GiB")
    return int(found[1]) * (MIB if found[2] == "MiB" else 1024 * MIB)


def options():
    names = [work.name for work in WORKS]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--rounds", type=int, default=5, help="runs of each tool (default: 5)")
    add("--size", type=size, default="1GiB", help="of the one large file (default: 1GiB)")
    add("--only", action="append", choices=names, help="a work to run; repeat it for several")
    add("--archiver", default=ROOT / "target" / "release" / "recording-archiver", metavar="PATH")
    add(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an environment variable for the archiver",
    )
    add("--programs", metavar="DIR", help="with sink, relay and breaking_proxy, built already")
    add("--endpoint", metavar="URL", help="a real store instead of the sink")
    add("--bucket", default="bench", help="in that store (default: bench)")
    add("--markdown", action="store_true", help="print the table as Markdown")
    return parser.parse_args()


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    given = options()
    works = [work for work in WORKS if not given.only or work.name in given.only]
    lines, judged = [], []
    with contextlib.ExitStack() as cleanup:
        bench = Bench(given, cleanup)
        load = os.getloadavg()[0]
        for work in works:
            say(f"{work.name}: {work.title}")
            everybody = compete(bench, work)
            lines += rows(work, everybody)
            judged += verdicts(work, everybody)
    print(f"{os.cpu_count()} cores, {', '.join(versions())}")
    if load > os.cpu_count() / 4:
        print(f"Something else was running (load {load:.1f} before): the times mean little.")
    print()
    print(table(lines, given.markdown))
    print("\nRatio: bytes a second, against the first tool of the work in the same round.")
    print("\n".join(judged))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped")
