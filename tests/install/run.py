#!/usr/bin/env python3
"""Takes coro in as a stranger would: builds and runs tests/install/consumer outside of the tree.

    run.py --kind KIND --build BUILD_TREE [--compiler g++]

static, shared      find_package of what was installed; the compilers mixed; what is refused
pkg_config          the same packages by pkg-config
build_tree          find_package of BUILD_TREE
subdirectory        add_subdirectory in a parent that must stay as it was
fetch_installed     FetchContent that finds what was installed
fetch_source        FetchContent that builds the source, as a shared library
options             what is built by default
headers             which headers are installed

Whatever is installed goes into a temporary prefix that is then renamed, so that a path baked in
shows. BUILD_TREE gives the static library; the shared one is built in BUILD_TREE-shared, which is
kept.
"""
import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import package
from package import ROOT, VERSION, complaint_of, configure, install, output_of, say, shared_tree

OTHER_COMPILER = "clang++-19"
# A program that links libcoro.so needs none of these.
NOT_NEEDED = ["liburing", "Boost", "Threads", "PkgConfig"]
# Namespace coro::v0: functions and objects; const members; tables, type information, its names;
# thunks; access to thread-local objects; guards.
EXPORTED = re.compile(r"_Z(N|NK|T[VIS]N|T[hv]\w*?_N|T[WH]N|GVN)K?4coro2v0")


def build(tree):
    say(["cmake", "--build", tree, "--parallel", str(os.cpu_count() or 1)])


def consume(work, *settings, compiler=package.CXX, name="build"):
    tree = work / name
    say(configure(work / "consumer", tree, *settings, compiler=compiler))
    build(tree)
    printed = output_of(str(tree / "consumer"))
    print(printed, end="")
    if "consumer: 42" not in printed:
        sys.exit("the consumer did not print its answer")
    return tree / "consumer"


def refuse(work, expected, *settings):
    """The consumer must not configure, and all of `expected` must stand in the message."""
    said = complaint_of(configure(work / "consumer", work / "refused", *settings))
    flat = " ".join(said.split())
    for text in expected:
        if text not in flat:
            sys.exit(f"'{text}' is not in the message:\n{said}")
    shutil.rmtree(work / "refused")


def check_doctor(prefix):
    """The program is installed, and finds its library where the prefix is now."""
    said = output_of(str(prefix / "bin/coro-doctor"), "--version")
    if said != f"coro-doctor {VERSION}\n":
        sys.exit(f"coro-doctor --version says {said}")


def of_static(work, tree):
    installed = install(tree, work)
    check_doctor(installed)
    prefix = f"-DCMAKE_PREFIX_PATH={installed}"
    consume(work, prefix)
    consume(work, prefix, compiler=OTHER_COMPILER, name="other")
    readable = ['requested version "9.9"', f"version: {VERSION}"]
    refuse(work, readable, prefix, "-DCONSUMER_VERSION=9.9")
    refuse(work, ['requested version "0.2"'], prefix, "-DCONSUMER_VERSION=0.2")
    for name in ("liburing", "Boost", "Threads"):
        absent = f"-DCMAKE_DISABLE_FIND_PACKAGE_{name}=ON"
        refuse(work, [name], prefix, absent)
        say(configure(work / "consumer", work / f"without-{name}", prefix, absent,
                      "-DCONSUMER_KIND=absent"))


def of_shared(work, _tree):
    prefix = install(shared_tree(), work)
    check_doctor(prefix)
    settings = [f"-DCMAKE_PREFIX_PATH={prefix}"]
    settings += [f"-DCMAKE_DISABLE_FIND_PACKAGE_{name}=ON" for name in NOT_NEEDED]
    program = consume(work, *settings)
    consume(work, *settings, compiler=OTHER_COMPILER, name="other")
    if "libcoro.so.0" not in output_of("ldd", str(program)):
        sys.exit("the consumer does not use the shared library")
    check_library(prefix)


def check_library(prefix):
    library = next(prefix.rglob("libcoro.so"))
    chain = [library.name, os.readlink(library), os.readlink(library.with_name("libcoro.so.0"))]
    if chain != ["libcoro.so", "libcoro.so.0", f"libcoro.so.{VERSION}"]:
        sys.exit(f"the names of the shared library are {chain}")
    dynamic = output_of("readelf", "-d", str(library))
    if "Library soname: [libcoro.so.0]" not in dynamic:
        sys.exit("the shared library has no SONAME libcoro.so.0")
    if "RPATH" in dynamic or "RUNPATH" in dynamic:
        sys.exit("the shared library says where to look for others")
    symbols = output_of("nm", "-D", "--defined-only", str(library)).splitlines()
    names = [line.split()[-1] for line in symbols]
    strangers = [name for name in names if not EXPORTED.match(name)]
    if not names or strangers:
        sys.exit("the shared library exports what is not coro's:\n" + "\n".join(strangers[:10]))
    print(f"{len(names)} exported symbols, all in coro::v0")


def of_pkg_config(work, tree):
    for name, built in (("static", tree), ("shared", shared_tree())):
        (work / name).mkdir()
        prefix = install(built, work / name)
        os.environ["PKG_CONFIG_PATH"] = str(next(prefix.rglob("coro.pc")).parent)
        consume(work, "-DCONSUMER_KIND=pkg_config", name=f"{name}/build")
    # Alone: nothing of liburing is there, and nothing of it is asked for.
    told = package.pkg_config(prefix, "--cflags", "--libs", alone=True)
    if any("uring" in word or "boost" in word for word in told):
        sys.exit(f"the shared library makes its consumer link more than itself: {told}")
    if package.pkg_config(prefix, "--modversion", alone=True) != [VERSION]:
        sys.exit("coro.pc has another version")


def of_build_tree(work, tree):
    consume(work, f"-Dcoro_DIR={tree}")


def of_subdirectory(work, _tree):
    # Not united: each file of coro includes what it needs.
    consume(work, "-DCONSUMER_KIND=subdirectory", f"-DCORO_SOURCE_DIR={ROOT}",
            "-DCMAKE_UNITY_BUILD=OFF")
    tests = output_of("ctest", "--test-dir", str(work / "build"), "-N")
    if "Total Tests: 1" not in tests:
        sys.exit(f"the parent has one test of its own:\n{tests}")
    say(["cmake", "--install", work / "build", "--prefix", work / "prefix"])
    installed = sorted(p.name for p in (work / "prefix").rglob("*") if p.is_file())
    if installed != ["consumer"]:
        sys.exit(f"the parent installs its program only, and this went in: {installed}")


def of_fetch_installed(work, tree):
    consume(work, "-DCONSUMER_KIND=fetch", f"-DCMAKE_PREFIX_PATH={install(tree, work)}",
            "-DCONSUMER_EXPECTS=installed")


def of_fetch_source(work, _tree):
    consume(work, "-DCONSUMER_KIND=fetch", f"-DFETCHCONTENT_SOURCE_DIR_CORO={ROOT}",
            "-DBUILD_SHARED_LIBS=ON", "-DCONSUMER_EXPECTS=source")


def of_options(work, _tree):
    """On where coro is the whole project; the consumer itself looks at the subproject."""
    say(configure(ROOT, work / "top"))
    cache = (work / "top/CMakeCache.txt").read_text(encoding="utf-8")
    for name in ("TESTS", "EXAMPLES", "PERF", "DOCTOR", "INSTALL"):
        if f"\nCORO_BUILD_{name}:BOOL=ON\n" not in cache:
            sys.exit(f"CORO_BUILD_{name} is not ON by default")


def of_headers(work, _tree):
    tree = shared_tree()
    prefix = install(tree, work)
    public = {p.relative_to(ROOT / "include") for p in (ROOT / "include").rglob("*.hpp")}
    there = {p.relative_to(prefix / "include") for p in (prefix / "include").rglob("*") if
             p.is_file()}
    if public != there:
        sys.exit(f"installed, but not public, or the reverse: {sorted(public ^ there)}")


KINDS = {
    "static": of_static,
    "shared": of_shared,
    "pkg_config": of_pkg_config,
    "build_tree": of_build_tree,
    "subdirectory": of_subdirectory,
    "fetch_installed": of_fetch_installed,
    "fetch_source": of_fetch_source,
    "options": of_options,
    "headers": of_headers,
}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kind", required=True, choices=KINDS)
    parser.add_argument("--build", required=True, type=pathlib.Path)
    parser.add_argument("--compiler", default=package.CXX)
    options = parser.parse_args()
    package.BUILD = options.build.resolve()
    package.CXX = options.compiler

    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        shutil.copytree(ROOT / "tests/install/consumer", work / "consumer")
        KINDS[options.kind](work, package.BUILD)


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as failure:
        command = " ".join(map(str, failure.cmd))
        printed = (failure.stdout or "") + (failure.stderr or "")
        sys.exit(f"failed with {failure.returncode}: {command}\n{printed}")
