"""What the tests of the documentation share: blocks of code of a page, and finding a server."""
import os
import pathlib
import re
import time

ROOT = pathlib.Path(os.environ.get("CORO_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
BUILD = pathlib.Path(os.environ.get("CORO_BUILD_DIR", ROOT / "build/debug")).resolve()
CXX = os.environ.get("CXX", "g++")
PATIENCE = 120  # seconds, against hanging only
PRINTED_PORT = "loopback(7000)"  # on the pages; the tests take any port, for somebody may have it
ANY_PORT = "loopback(0)"
LISTENING = "0A"  # TCP_LISTEN in /proc/net/tcp


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def ports_of(process):
    """Where it listens, by /proc."""
    proc = pathlib.Path(f"/proc/{process.pid}")
    try:
        own = {os.readlink(each) for each in proc.glob("fd/*")}
        lines = (proc / "net/tcp").read_text(encoding="utf-8").splitlines()[1:]
    except OSError:  # it has closed something, or ended, meanwhile
        return []
    fields = [line.split() for line in lines]
    return [int(each[1].split(":")[1], 16) for each in fields
            if each[3] == LISTENING and f"socket:[{each[9]}]" in own]


def listening_port(process):
    """The port that the kernel chose for it."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        if ports := ports_of(process):
            return ports[0]
        time.sleep(0.01)
    raise AssertionError("the program does not listen")
