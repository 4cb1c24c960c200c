"""What the measuring scripts share: starting servers, running coro_load, giving up in a sentence.

Only processes started here are ever signalled, each by its own pid.
"""

import contextlib
import ctypes
import json
import os
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

CRASHED = 70  # the exit status of an error in the script itself: Python's own, 1, is a Failure here
PR_SET_PDEATHSIG = 1  # prctl(2)
LIBC = ctypes.CDLL(None, use_errno=True)
START_SECONDS = 60  # limits against hanging, as the next one is
STOP_SECONDS = 60
CANNOT_SERVE = 3  # as common/failure.hpp says it
END_SECONDS = 10  # a load may see its connections end a little before the server has
NO_MESSAGE = "no message came back in the window"  # as coro_load says it
HOLD_SECONDS = 1e6  # longer than anybody looks at idle connections: the end of the block ends it


class Failure(Exception):
    """What was measured went wrong: exit status 1."""


class Starved(Failure):
    """Nothing was wrong, but on a busy machine no message came back in the window."""


class CannotServe(Exception):
    """A server has said that its model ends here: no figure, and no failure."""


class Misuse(Exception):
    """The command line makes no sense: exit status 2."""


def end_in_order(number, _):
    """A handler of signals: the context managers end what was started."""
    for each in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)  # a second one would end the ending
    sys.exit(128 + number)


def run_main(program, main):
    """Calls `main`; turns Failure and Misuse into one sentence and the status. A signal that asks
    to end is obeyed once the servers have ended."""
    for each in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(each) == signal.SIG_DFL:  # nohup ignores the second
            signal.signal(each, end_in_order)
    try:
        sys.exit(main())
    except Failure as error:
        print(f"{program}: {error}", file=sys.stderr)
        sys.exit(1)
    except Misuse as error:
        print(f"{program}: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"{program}: interrupted; servers were stopped", file=sys.stderr)
        sys.exit(130)
    except Exception:
        traceback.print_exc()
        sys.exit(CRASHED)


def find_program(word, default_name):
    """The path of a program, given or standing where the release build puts it."""
    if word is None:
        root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        word = os.path.join(root, "build/release/perf", default_name)
    found = shutil.which(word)
    if found is None:
        raise Misuse(f"find {word}: there is no such program; build the release preset "
                     "or name another one")
    return found


def prepare(processor):
    """A preexec function: the child ends with this process, even by SIGKILL, and is pinned if a
    processor is named."""
    parent = os.getpid()

    def prepare_child():
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # which ended before the kernel was asked
            os._exit(1)
        if processor is not None and processor >= 0:
            os.sched_setaffinity(0, {processor})

    return prepare_child


class Server:
    """A running server under test. Use as a context manager; `port` and `pid` say where it is."""

    def __init__(self, command, processor=None):
        self.command = shlex.split(command) if isinstance(command, str) else list(command)
        if not self.command:
            raise Misuse("start a server: its command is empty; give a program")
        self.processor = processor
        self.process = None
        self.port = None
        self.last_words = ""
        self.said = tempfile.TemporaryFile(mode="w+", errors="replace")  # its stderr

    def __enter__(self):
        command = list(self.command)
        if "--port" not in command:
            command += ["--port", "0"]
        try:
            # Some servers listen to what is typed; nobody types here.
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL,
                                            stdout=subprocess.PIPE, stderr=self.said, text=True,
                                            preexec_fn=prepare(self.processor))
        except OSError as error:
            raise Misuse(f"start {command[0]}: {error.strerror}; build it or correct the path")
        try:
            self.port = self._read_port()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind, value, trace):
        status = self.stop()
        if kind is None and status != 0:
            raise Failure(f"stop {self.command[0]}: it ended with status {status} "
                          "instead of 0 on SIGTERM")

    @property
    def pid(self):
        return self.process.pid

    def check_alive(self):
        status = self.process.poll()
        if status is not None:
            raise Failure(f"use {self.command[0]}: it ended by itself with status {status}")

    def refusal(self):
        """After a failure: what the server said when it ended because its model cannot serve what
        it was asked to; None when that was not the reason."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            if self.process.wait(END_SECONDS) == CANNOT_SERVE:
                line = (self.complaint().strip().splitlines() or ["it: it said nothing"])[-1]
                return line.partition(": ")[2]
        return None

    def stop(self):
        """Ends the server; its exit status, or "killed" when it did not obey. What it printed
        after its port is in last_words."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            status = self.process.wait(STOP_SECONDS)
            if not self.process.stdout.closed:  # a server may be stopped twice
                self.last_words = self.process.stdout.read()
            return status
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return "killed"
        finally:
            self.process.stdout.close()
            if not self.said.closed:
                if self.process.returncode != CANNOT_SERVE:  # what a refusal says stands elsewhere
                    sys.stderr.write(self.complaint())
                self.said.close()

    def complaint(self):
        """What the server has said on stderr so far."""
        self.said.seek(0)
        return self.said.read()

    def _read_port(self):
        deadline = time.monotonic() + START_SECONDS
        prefix = "listening 127.0.0.1:"
        text = ""
        ended = False
        while not ended and time.monotonic() < deadline:
            ready, _, _ = select.select([self.process.stdout], [], [], 0.1)
            if ready:
                piece = os.read(self.process.stdout.fileno(), 4096).decode(errors="replace")
                text += piece
                for line in text.splitlines(keepends=True):
                    if line.startswith(prefix) and line.endswith("\n"):
                        return int(line[len(prefix):].split()[0])
                ended = piece == ""
        how = "ended" if ended else f"ran for {START_SECONDS} s"
        said = (text + self.complaint()).strip()
        raise Failure(f"start {self.command[0]}: it {how} without printing "
                      f"\"{prefix}<port>\" (it said {said!r}); run it by hand to see why")


class IdleConnections:
    """Connections that have exchanged one message each and are idle until the block ends."""

    def __init__(self, load, port, count, processor=None):
        self.command = [load, "--port", str(port), "--connections", str(count),
                        "--hold", str(HOLD_SECONDS)]
        self.processor = processor

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True,
                                        preexec_fn=prepare(self.processor))
        ready, _, _ = select.select([self.process.stdout], [], [], START_SECONDS)
        if not ready or not self.process.stdout.readline().startswith("holding "):
            self.__exit__(Failure)
            raise Failure(f"run {shlex.join(self.command)}: the connections did not open")
        return self

    def __exit__(self, kind=None, *_):
        status = self.process.poll()
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()
        if kind is None and status is not None:
            raise Failure(f"hold idle connections: {shlex.join(self.command)} ended by itself with "
                          f"status {status} before it was told to; the server ended them")


def run_load(load, port, words, processor=None):
    """Runs coro_load with --json and returns what it measured."""
    command = [load, "--port", str(port), "--json", *words]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=prepare(processor),
                          check=False)
    if done.returncode != 0:
        said = done.stderr.strip() or f"status {done.returncode}, without a word"
        kind = Misuse if done.returncode == 2 else Starved if NO_MESSAGE in said else Failure
        raise kind(f"run {shlex.join(command)}: {said}")
    return json.loads(done.stdout)
