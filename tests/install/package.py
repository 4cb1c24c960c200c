"""What the tests of the package share: trees, prefixes, and consumers that CMake builds."""
import fcntl
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(os.environ.get("CORO_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
BUILD = pathlib.Path(os.environ.get("CORO_BUILD_DIR", ROOT / "build/debug")).resolve()
CXX = os.environ.get("CXX", "g++")
VERSION = re.search(
    r"project\(coro VERSION ([\d.]+)", (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
).group(1)


def say(command):
    print("+ " + " ".join(str(part) for part in command), flush=True)
    subprocess.run(command, check=True)


def output_of(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def complaint_of(command):
    """What a command that must fail printed."""
    print("+ " + " ".join(str(part) for part in command) + "  # must fail", flush=True)
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode == 0:
        sys.exit(f"this must fail, and did not:\n{run.stdout}")
    return run.stdout + run.stderr


def configure(source, tree, *settings, compiler=CXX):
    """The command that configures `source` in `tree`. Most that is built here is coro, and united
    that takes half of the time."""
    return [
        "cmake",
        "-S",
        source,
        "-B",
        tree,
        "-G",
        "Ninja",
        f"-DCMAKE_CXX_COMPILER={compiler}",
        "-DCMAKE_BUILD_TYPE=Debug",
        "-DCMAKE_UNITY_BUILD=ON",
        *settings,
    ]


def shared_tree():
    """The tree with the shared library, which is kept, and the examples, which must link it; tests
    that run side by side take turns."""
    # Beside BUILD, so that the paths of its sources are the same to ccache.
    tree = BUILD.with_name(BUILD.name + "-shared")
    settings = ["-DBUILD_SHARED_LIBS=ON"]
    settings += ["-DCORO_BUILD_EXAMPLES=ON", "-DCORO_BUILD_TESTS=OFF", "-DCORO_BUILD_PERF=OFF"]
    with open(BUILD / "shared.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        say(configure(ROOT, tree, *settings))
        say(["cmake", "--build", tree])
    return tree


def install(tree, work):
    """Installs into a prefix, moves the prefix, and answers where it is now."""
    first, moved = work / "first", work / "moved"
    say(["cmake", "--install", tree, "--prefix", first])
    first.rename(moved)
    for path in moved.rglob("*"):
        if path.suffix in (".cmake", ".pc"):
            text = path.read_text(encoding="utf-8")
            for place in (ROOT, tree, first):
                if str(place) in text:
                    sys.exit(f"{path.relative_to(work)} names {place}")
    return moved


def pkg_config(prefix, *arguments, alone=False):
    """What pkg-config answers about the package in `prefix`; `alone`: it finds no other one."""
    folder = str(next(prefix.rglob("coro.pc")).parent)
    place = {"PKG_CONFIG_LIBDIR": folder} if alone else {"PKG_CONFIG_PATH": folder}
    run = subprocess.run(
        ["pkg-config", *arguments, "coro"],
        env={**os.environ, **place},
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode != 0:
        sys.exit(f"pkg-config {' '.join(arguments)} coro failed:\n{run.stderr}")
    return run.stdout.split()
