"""What the tests of the examples share: starting them, talking to them, ending them."""
import contextlib
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import sys
import threading

BUILD = pathlib.Path(os.environ.get("CORO_BUILD_DIR", "build/debug"))
ROOT = pathlib.Path(os.environ.get("CORO_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
PATIENCE = 120  # seconds, against hanging only
POLLERS = ["io_uring", "epoll"]


def program(name):
    return BUILD / "examples" / name


def environment(poller):
    return {**os.environ, "CORO_POLLER": poller}


def run(name, *arguments, poller="automatic"):
    return subprocess.run(
        [program(name), *arguments],
        env=environment(poller),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@contextlib.contextmanager
def killer(process):
    """Kills the process when what is done meanwhile takes longer than PATIENCE."""
    timer = threading.Timer(PATIENCE, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class started:
    """An example that runs until a signal ends it."""

    def __init__(self, name, *arguments, poller="automatic"):
        self.name = name
        self.process = subprocess.Popen(
            [program(name), *arguments],
            env=environment(poller),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def line(self):
        """The next line that it prints."""
        with killer(self.process):
            return self.process.stdout.readline()

    def end(self, how=signal.SIGINT):
        """Sends the signal; (exit code, what else it printed, stderr)."""
        self.process.send_signal(how)
        return self.wait()

    def wait(self):
        """The same for one that ends by itself."""
        with killer(self.process):  # not communicate(): it misses what readline() has read ahead
            out, err = self.process.stdout.read(), self.process.stderr.read()
            return self.process.wait(), out, err

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()


class server(started):
    """An example that listens, on a free port; ended by a signal."""

    def __init__(self, name, poller, *arguments):
        super().__init__(name, "0", *arguments, poller=poller)
        line = self.line()
        match = re.fullmatch(r"listening 127\.0\.0\.1:(\d+)\n", line)
        if not match:
            self.process.kill()
            raise AssertionError(f"{name} said {line!r}, {self.process.communicate()}")
        self.port = int(match.group(1))

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)


def read_exactly(stream, size):
    data = b""
    while len(data) < size:
        piece = stream.recv(size - len(data))
        if not piece:
            break
        data += piece
    return data


def reset(stream):
    """Closes so that the peer meets `connection reset`, and no end of the stream."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    stream.close()


def address(stream):
    """How an example writes the address of this socket."""
    return "{}:{}".format(*stream.getsockname())


def text_of(name):
    return (ROOT / "examples" / f"{name}.cpp").read_text(encoding="utf-8")


def must_be_built(name):
    if not program(name).exists():
        sys.exit(f"{program(name)} is not built")


KEPT_PORTS = []  # sockets whose names keep other tests from a port, until this process ends


def free_port():
    """A port that stays free until this process binds it. The kernel gives it to no socket that
    asks for any port, and no other test gets it: each holds a name in the abstract namespace."""
    low, high = map(
        int, pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text("ascii").split()
    )
    chosen = [port for port in range(10_000, 60_000) if not low <= port <= high]
    for port in random.sample(chosen, len(chosen)) or [0]:
        kept = socket.socket(socket.AF_UNIX)
        try:
            if port:
                kept.bind(f"\0coro-test-port-{port}")
            with socket.create_server(("127.0.0.1", port)) as free:
                port = free.getsockname()[1]
        except OSError:
            kept.close()
            continue
        KEPT_PORTS.append(kept)
        return port
    raise AssertionError("no port is free")


FOREIGN = ["nc", "socat"]


def foreign_client(name, port):
    """It, connected to the port."""
    arguments = {"nc": ["127.0.0.1", str(port)], "socat": ["-", f"TCP:127.0.0.1:{port}"]}[name]
    return subprocess.Popen(
        [name, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
