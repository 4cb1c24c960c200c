#!/usr/bin/env python3
"""Builds and runs the consumer in tests/install/consumer against coro, outside of the tree.

    run.py --kind KIND --build BUILD_TREE [--compiler g++]

KIND is static, shared, pkg_config, build_tree or subdirectory.

static, shared and pkg_config install into a temporary prefix that is then renamed, so that a path
baked in shows. BUILD_TREE gives the static library; the shared one is built in
BUILD_TREE/install-shared, which is kept.
"""
import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]


def say(command):
    print("+ " + " ".join(str(part) for part in command), flush=True)
    subprocess.run(command, check=True)


def output_of(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def build_shared(tree, compiler):
    say(
        [
            "cmake",
            "-S",
            ROOT,
            "-B",
            tree,
            "-G",
            "Ninja",
            f"-DCMAKE_CXX_COMPILER={compiler}",
            "-DCMAKE_BUILD_TYPE=Debug",
            "-DBUILD_SHARED_LIBS=ON",
            "-DCORO_BUILD_TESTS=OFF",
            "-DCORO_BUILD_EXAMPLES=OFF",
            "-DCORO_BUILD_PERF=OFF",
        ]
    )
    say(["cmake", "--build", tree])


def install(tree, work):
    """Installs into a prefix, moves the prefix, and answers where it is now."""
    say(["cmake", "--install", tree, "--prefix", work / "first"])
    (work / "first").rename(work / "moved")
    for path in (work / "moved").rglob("*"):
        if path.suffix in (".cmake", ".pc") and str(ROOT) in path.read_text(encoding="utf-8"):
            sys.exit(f"{path.relative_to(work)} names the source tree")
    return work / "moved"


def consume(work, compiler, *settings):
    say(
        [
            "cmake",
            "-S",
            work / "consumer",
            "-B",
            work / "build",
            "-G",
            "Ninja",
            f"-DCMAKE_CXX_COMPILER={compiler}",
            "-DCMAKE_BUILD_TYPE=Debug",
            *settings,
        ]
    )
    say(["cmake", "--build", work / "build"])
    program = work / "build" / "consumer"
    printed = output_of(str(program))
    print(printed, end="")
    if "consumer: 42" not in printed:
        sys.exit("the consumer did not print its answer")
    return program


def check_shared(prefix, program):
    library = next(prefix.rglob("libcoro.so.0"))
    if "libcoro.so.0" not in output_of("ldd", str(program)):
        sys.exit("the consumer does not use the shared library")
    dynamic = output_of("readelf", "-d", str(library))
    if "SONAME" not in dynamic or "[libcoro.so.0]" not in dynamic:
        sys.exit("the shared library has no SONAME libcoro.so.0")
    symbols = [
        line
        for line in output_of("nm", "-DC", "--defined-only", str(library)).splitlines()
        if " T " in line
    ]
    strangers = [line for line in symbols if "coro::" not in line]
    if not symbols or strangers:
        sys.exit("the shared library exports what is not coro's:\n" + "\n".join(strangers[:10]))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--kind",
        required=True,
        choices=["static", "shared", "subdirectory", "build_tree", "pkg_config"],
    )
    parser.add_argument("--build", required=True, type=pathlib.Path)
    parser.add_argument("--compiler", default="g++")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        shutil.copytree(ROOT / "tests/install/consumer", work / "consumer")
        if options.kind == "static":
            prefix = install(options.build, work)
            consume(work, options.compiler, f"-DCMAKE_PREFIX_PATH={prefix}")
        elif options.kind == "shared":
            tree = options.build / "install-shared"
            build_shared(tree, options.compiler)
            prefix = install(tree, work)
            check_shared(prefix, consume(work, options.compiler, f"-DCMAKE_PREFIX_PATH={prefix}"))
        elif options.kind == "pkg_config":
            prefix = install(options.build, work)
            os.environ["PKG_CONFIG_PATH"] = str(next(prefix.rglob("coro.pc")).parent)
            consume(work, options.compiler, "-DCONSUMER_KIND=pkg_config")
        elif options.kind == "build_tree":
            consume(work, options.compiler, f"-Dcoro_DIR={options.build}")
        else:
            consume(
                work, options.compiler, "-DCONSUMER_KIND=subdirectory", f"-DCORO_SOURCE_DIR={ROOT}"
            )


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as failure:
        command = " ".join(map(str, failure.cmd))
        printed = (failure.stdout or "") + (failure.stderr or "")
        sys.exit(f"failed with {failure.returncode}: {command}\n{printed}")
