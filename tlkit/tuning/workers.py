"""Several processes that search together: KerasTuner's chief and its workers, started, watched, restarted and ended.

The chief has the oracle and runs nothing; each worker asks it for trials. All of them are the command that was typed,
run again with KerasTuner's variables in its environment.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tlkit.errors import UserError
from tlkit.tuning.files import BEGUN, FAILURE, METRICS, full_disk, read_json, write_json

SUPERVISOR = "TLKIT_TUNING_SUPERVISOR"  # id of the process that watches over this one
NAME = "TLKIT_TUNING_PROCESS"  # what that process calls this one
SHARE = "TLKIT_TUNING_SHARE"  # "1/4": of a list of trainings this process does every fourth, from the second
REJOIN = "TLKIT_TUNING_REJOIN"  # set where a chief takes the place of one that died while its workers lived on
LOGS = "workers"  # the folder in a search for what each process said
_SECONDS_TO_STOP = 20.0  # after SIGTERM: a training stops before its next batch
_SECONDS_TO_HEAR = 5.0  # in which workers of other machines ask again, and so learn that the search has ended
_POLL = 0.2
# A process that dies so often with nothing done between has more than bad luck. Above `trial_runner.DEATHS`, after
# which a trial is given up.
_MOST_RESTARTS = 6
_LEAST_FREE = 2**20  # bytes: with less, what made a process die was most likely a full disk, whatever it said


class Address(NamedTuple):
    """Where the chief listens."""

    host: str
    port: int


def parse_address(text: str, flag: str) -> Address:
    """Read "HOST:PORT".

    Raises:
        UserError: When it is none.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise UserError(f"tune: `{flag}` is {text!r}. Expected HOST:PORT, such as '192.168.1.10:5000'.")
    return Address(host, int(port))


def role() -> str | None:
    """Who this process is in a search of several: "chief", a worker's name, or None. Clusters may set it, too."""
    return os.environ.get("KERASTUNER_TUNER_ID") if "KERASTUNER_ORACLE_IP" in os.environ else None


def share() -> slice | None:
    """What of a list of trainings this process does, as one of several that were started for it; else None."""
    if SHARE not in os.environ:
        return None
    number, _, processes = os.environ[SHARE].partition("/")
    return slice(int(number), None, int(processes))


@contextlib.contextmanager
def as_child(folder: Path) -> Iterator[None]:
    """Around the search in a chief or worker: it ends when its supervisor has gone, and says what its error was."""
    if SUPERVISOR in os.environ:
        threading.Thread(target=_end_with, args=(int(os.environ[SUPERVISOR]),), daemon=True).start()
    try:
        yield
    except UserError as error:
        (folder / LOGS).mkdir(parents=True, exist_ok=True)
        _error_file(folder, os.environ.get(NAME, role() or "")).write_text(str(error), encoding="utf-8")
        raise


def search_with_workers(
    folder: Path,
    workers: int,
    *,
    listen: str | None = None,
    chief: str | None = None,
    num_gpus: int = 0,
    watch: Callable[[], None] = lambda: None,
) -> None:
    """Run the search with so many workers on this machine, until it has ended.

    A process that dies is started again under its name, and so gets its trial back. Ctrl-C and SIGTERM end all.

    Args:
        folder: The search's.
        workers: How many to start here.
        listen: Where the chief, which is started here, can be reached. Defaults to this machine only, at a free port.
        chief: Address of a chief on another machine; none is started here.
        num_gpus: Graphics cards to give out; a worker gets one, or shares one.
        watch: Called a few times a second.

    Raises:
        UserError: What a process has raised; or that one dies again and again.
    """
    (folder / LOGS).mkdir(parents=True, exist_ok=True)
    address = parse_address(chief or listen or "127.0.0.1:0", "chief" if chief else "listen")
    if not address.port:
        address = Address(address.host, _free_port(address.host))
    # Not the machine's name: KerasTuner takes any name with "chief" in it for the chief.
    names = [f"worker{n}" if chief is None else f"worker{n}-{uuid.uuid4().hex[:8]}" for n in range(workers)]
    asking = {"KERASTUNER_ORACLE_IP": address.host, "KERASTUNER_ORACLE_PORT": str(address.port)}
    crew = [
        _Process(folder, name, asking | {"KERASTUNER_TUNER_ID": name} | _resources(n, workers, num_gpus))
        for n, name in enumerate(names)
    ]
    leading = asking | {"KERASTUNER_TUNER_ID": "chief", "CUDA_VISIBLE_DEVICES": ""}
    leader = None if chief else _Process(folder, "chief", leading)
    if leader and listen:
        print(f"Other machines join with: --chief {socket.gethostname()}:{address.port}", flush=True)
    with _ending_all([*crew, *([leader] if leader else [])]):
        for process in (leader, *crew):
            if process:
                process.start()
        while [process for process in crew if process.is_needed()]:  # all are looked at: each that died starts again
            if leader:
                leader.is_needed(always=True)
            watch()
            time.sleep(_POLL)
        watch()
        if listen:
            time.sleep(_SECONDS_TO_HEAR)


def run_in_shares(folder: Path, workers: int, *, num_gpus: int = 0) -> None:
    """Run the command so many times at once, each with its `share` of a list of trainings, until all have ended.

    Args:
        folder: The search's.
        workers: How many to start.
        num_gpus: Graphics cards to give out; a process gets one, or shares one.

    Raises:
        UserError: What a process has raised; or that one dies again and again.
    """
    (folder / LOGS).mkdir(parents=True, exist_ok=True)
    shares = [_resources(n, workers, num_gpus) | {SHARE: f"{n}/{workers}"} for n in range(workers)]
    crew = [_Process(folder, f"share{n}", environment) for n, environment in enumerate(shares)]
    with _ending_all(crew):
        for process in crew:
            process.start()
        while [process for process in crew if process.is_needed()]:  # of all, so that each that died starts again
            time.sleep(_POLL)


class _Process:
    """The command that was typed, run again with more in its environment, and again when it has died."""

    def __init__(self, folder: Path, name: str, environment: dict[str, str]):
        self.folder, self.name = folder, name
        self.environment = environment | {NAME: name, SUPERVISOR: str(os.getpid())}
        self.running: subprocess.Popen | None = None
        self.restarts, self.done_before = 0, 0

    def start(self) -> None:
        _error_file(self.folder, self.name).unlink(missing_ok=True)
        with open(self.log, "ab") as log:
            # In a session of its own: Ctrl-C reaches the supervisor only, which then ends all in order.
            self.running = subprocess.Popen(
                _command(),
                env=os.environ | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def log(self) -> Path:
        return self.folder / LOGS / f"{self.name}.log"

    def is_needed(self, *, always: bool = False) -> bool:
        """Whether it runs, after starting it again when it died; `always`: also when it ended in order."""
        status = self.running.poll()
        if status is None:
            return True
        if status == 0 and not always:
            return False
        error = _error_file(self.folder, self.name)
        if error.exists():
            raise UserError(error.read_text(encoding="utf-8"))
        done = len([*self.folder.rglob(METRICS), *self.folder.rglob(FAILURE)])
        self.restarts = self.restarts + 1 if done == self.done_before else 1
        self.done_before = done
        if shutil.disk_usage(self.folder).free < _LEAST_FREE:
            raise UserError(full_disk(self.folder))
        if self.restarts > _MOST_RESTARTS:
            raise UserError(
                f"The process '{self.name}' of the search has died {self.restarts} times (status {status}). What it "
                f"said is in '{self.log}'."
            )
        _note_death(self.folder, self.name)
        self.environment[REJOIN] = "1"
        self.start()
        return True


def _resources(number: int, workers: int, num_gpus: int) -> dict[str, str]:
    """A worker's share of the machine: threads, and a graphics card where there are any."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = str(max(1, cores // workers))
    names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    found = {name: os.environ.get(name, share) for name in names}
    if num_gpus:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        cards = visible.split(",") if visible else [str(card) for card in range(num_gpus)]
        found["CUDA_VISIBLE_DEVICES"] = cards[number % len(cards)]
        if workers > len(cards):  # else the first one takes all of its memory
            found["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
    return found


def _command() -> list[str]:
    """What was typed, for another process."""
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return [sys.executable, "-m", spec.name.removesuffix(".__main__"), *sys.argv[1:]]
    if not hasattr(main, "__file__"):
        raise UserError("tune: `workers` run the command again, but this is a notebook or a prompt. Run it as a file.")
    return [sys.executable, *sys.argv]


@contextlib.contextmanager
def _ending_all(processes: list[_Process]) -> Iterator[None]:
    """End every process when the block is left, however it is left; SIGTERM leaves it."""

    def leave(number, frame):
        raise SystemExit(128 + number)

    in_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, leave) if in_main else None
    try:
        yield
    finally:
        alive = [p.running for p in processes if p.running is not None and p.running.poll() is None]
        for process in alive:
            process.terminate()
        deadline = time.monotonic() + _SECONDS_TO_STOP
        for process in alive:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if in_main:
            signal.signal(signal.SIGTERM, before)


def _end_with(supervisor: int) -> None:
    """End this process soon after the one that watches over it has gone, killed so that it could end nobody."""
    while os.getppid() == supervisor:
        time.sleep(1.0)
    os.kill(os.getpid(), signal.SIGTERM)  # a training stops before its next batch
    time.sleep(_SECONDS_TO_STOP)
    os._exit(1)


def _note_death(folder: Path, name: str) -> None:
    """Count it in the trial that the worker ran: it may be the trial's doing."""
    for file in folder.glob(f"trial_*/{BEGUN}"):
        begun = read_json(file) or {}
        if begun.get("worker") == name and "seconds" not in begun:
            write_json(file, {**begun, "deaths": begun["deaths"] + 1})


def _error_file(folder: Path, name: str) -> Path:
    return folder / LOGS / f"{name}.error"


def _free_port(host: str) -> int:
    with socket.socket() as found:
        found.bind((host, 0))
        return found.getsockname()[1]
