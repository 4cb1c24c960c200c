"""The peers of the arena: the same server in other libraries and languages, from packages of the
distribution. Each is built or run only where its package is there; one that is not is named.

Nothing else needs them: neither CMake nor the tests of CI.
"""

import contextlib
import pathlib
import shutil
import subprocess
import typing

from models import Model

FOLDER = pathlib.Path(__file__).resolve().parent / "peers"
PYTHON = "/usr/bin/python3"  # the distribution's, for its packages
BUILD_SECONDS = 600


class Absent(Exception):
    """A peer is not there; the sentence says what is missing."""


class Peer(typing.NamedTuple):
    name: str
    source: str  # below perf/peers; its suffix says how it is built
    what: str
    package: str
    links: tuple = ()  # of C++: libraries
    causes: dict = {}


CALLBACKS = "each event is a callback through tables of the library, and a message costs more of " \
            "its code than a loop by hand has"
MOSTLY_TCP = "the kernel's TCP is most of the cost"
REGISTERED_ONCE = "a socket is registered once, and a transfer is tried before it waits"
OF_EDGE = "its sockets are registered edge-triggered, so the kernel need not ask a served one " \
          "again at the next wait"
COPIED_BYTES = "where the kernel copies many bytes for a message, or sleeps and wakes for it, " \
               "what the language costs is little beside that"
UNKNOWN = "no mechanism of this is known; a profile must say"
PEERS = [
    Peer("Boost.Asio, coroutines", "asio_coroutines.cpp",
         "a coroutine per connection, one thread, no locks", "libboost-dev",
         causes={"more": "each operation is queued as a handler with a frame of its own before it "
                         "is resumed",
                 "same": MOSTLY_TCP,
                 "less": REGISTERED_ONCE}),
    Peer("Boost.Asio, callbacks", "asio_callbacks.cpp", "callbacks, one thread, no locks",
         "libboost-dev",
         causes={"more": "each operation is queued as a handler before it is called",
                 "same": MOSTLY_TCP,
                 "less": REGISTERED_ONCE}),
    Peer("libuv", "uv_echo.cpp", "callbacks, one shared buffer, writes at once", "libuv1-dev",
         ("uv",), {"more": CALLBACKS, "same": MOSTLY_TCP, "less": UNKNOWN}),
    Peer("libevent", "libevent_echo.cpp",
         "events that persist, one shared buffer, recv and send at once", "libevent-dev",
         ("event_core",), {"more": CALLBACKS, "same": MOSTLY_TCP, "less": UNKNOWN}),
    Peer("Go", "go_echo.go", "a goroutine per connection", "golang-go",
         causes={"more": "a goroutine is parked and made ready by the scheduler for each message, "
                         "and a receive that finds nothing comes before each wait",
                 "same": "goroutines are switched without the kernel, whose TCP is most of the "
                         "cost",
                 "less": OF_EDGE}),
    Peer("Node.js", "node_echo.js", "callbacks on libuv, in JavaScript", "nodejs",
         causes={"more": "each message becomes objects of JavaScript, whose callbacks run on top "
                         "of libuv, and which are collected",
                 "same": COPIED_BYTES, "less": UNKNOWN}),
    Peer("gevent", "gevent_echo.py", "a greenlet per connection, in Python", "python3-gevent",
         causes={"more": "Python interprets what happens for each message, and a greenlet is "
                         "switched to",
                 "same": COPIED_BYTES, "less": UNKNOWN}),
    Peer("asyncio, uvloop", "uvloop_echo.py",
         "a protocol object per connection, in Python on libuv", "python3-uvloop",
         causes={"more": "Python interprets two calls for each message, on top of libuv",
                 "same": COPIED_BYTES, "less": UNKNOWN}),
    Peer("tokio", "tokio_echo.rs", "a task per connection, in Rust, on one thread",
         "librust-tokio-dev",
         causes={"more": "a receive that finds nothing comes before each wait, and the wake-up of "
                         "a task goes through the queue of its runtime",
                 "same": MOSTLY_TCP, "less": OF_EDGE}),
]


def call(command, doing, **more):
    """Runs a compiler; its last words are why the peer is absent when it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False,
                              timeout=BUILD_SECONDS, stdin=subprocess.DEVNULL, **more)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Absent(f"{doing}: {error}") from None
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        first = next((line for line in said if "error: " in line or line.startswith("error")),
                     said[-1])
        raise Absent(f"{doing}: {first.strip()}")


def need(program, package):
    found = shutil.which(program)
    if found is None:
        raise Absent(f"{program} is not there: apt-get install {package}")
    return found


def build_cpp(peer, folder):
    probe = ["g++", "-std=c++20", "-O2", "-pthread", "-I", str(FOLDER.parent)]
    to = folder / pathlib.Path(peer.source).stem
    newest = max(path.stat().st_mtime for path in
                 [FOLDER / peer.source, *(FOLDER.parent / "common").iterdir()])
    if to.exists() and to.stat().st_mtime > newest:
        return [str(to)]
    links = [f"-l{name}" for name in peer.links]
    call([*probe, str(FOLDER / peer.source), "-o", str(to), *links],
         f"compile it (from {peer.package})")
    return [str(to)]


def build_go(peer, folder):
    to = folder / pathlib.Path(peer.source).stem
    cache = {"GOCACHE": str(folder / "go-cache"), "GO111MODULE": "off", "GOFLAGS": "",
             "GOPATH": str(folder / "go"), "HOME": str(folder), "PATH": "/usr/bin:/bin"}
    call([need("go", peer.package), "build", "-o", str(to), str(FOLDER / peer.source)],
         "compile it", env=cache, cwd=folder)
    return [str(to)]


def build_rust(peer, folder):
    """With the distribution's cargo, and from its registry only: nothing is fetched."""
    crate = folder / "tokio"
    name = pathlib.Path(peer.source).stem
    (crate / "src").mkdir(parents=True, exist_ok=True)
    (crate / ".cargo").mkdir(exist_ok=True)
    (crate / ".cargo/config.toml").write_text(
        '[source.crates-io]\nreplace-with = "distribution"\n'
        '[source.distribution]\ndirectory = "/usr/share/cargo/registry"\n', encoding="utf-8")
    (crate / "Cargo.toml").write_text(
        f'[package]\nname = "{name}"\nversion = "0.0.0"\nedition = "2021"\n[dependencies]\n'
        'tokio = { version = "1", features = ["io-util", "macros", "net", "rt", "signal"] }\n',
        encoding="utf-8")
    shutil.copy(FOLDER / peer.source, crate / "src/main.rs")
    if not pathlib.Path("/usr/bin/cargo").exists():
        raise Absent(f"cargo is not there: apt-get install cargo {peer.package}")
    call(["/usr/bin/cargo", "build", "--release", "--offline"], f"compile it (from {peer.package})",
         cwd=crate, env={"PATH": "/usr/bin:/bin", "HOME": str(folder),
                         "CARGO_HOME": str(folder / "cargo"), "RUSTC": "/usr/bin/rustc"})
    return [str(crate / "target/release" / name)]


def run_node(peer, _):
    return [need("node", peer.package), str(FOLDER / peer.source)]


def run_python(peer, _):
    module = peer.package.removeprefix("python3-")
    call([PYTHON, "-c", f"import {module}"], f"import {module}: apt-get install {peer.package}")
    return [PYTHON, str(FOLDER / peer.source)]


WAYS = {".cpp": build_cpp, ".go": build_go, ".js": run_node, ".py": run_python, ".rs": build_rust}


def version_of(package):
    with contextlib.suppress(OSError):
        done = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", package],
                              capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return f"{package} {done.stdout}"
    return "of no package"


def prepare(folder, say, peers=PEERS):
    """([(model, command)], {name: version}, {name: why it is absent})."""
    folder.mkdir(parents=True, exist_ok=True)
    there, versions, absent = [], {}, {}
    for peer in peers:
        say(f"preparing {peer.name}")
        try:
            command = WAYS[pathlib.Path(peer.source).suffix](peer, folder)
        except Absent as why:
            absent[peer.name] = str(why)
            continue
        model = Model(peer.name, "peer", f"perf/peers/{peer.source}", peer.what, causes=peer.causes)
        there.append((model, command))
        versions[peer.name] = version_of(peer.package)
    return there, versions, absent
