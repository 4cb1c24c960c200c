#!/usr/bin/env python3
"""Holds the tree to its rules: layers, owners of system headers, what only the waist may call,
sizes, form.

    tools/tidy.py [--root TREE] [--functions]

Prints `file:line: sentence` for each finding and ends with 1 when there is one. The tables below
are the rules; whoever changes one says why in its reason, and tests/tools/tidy_test.py proves that
each rule can fail. --functions also names the functions that are longer than 70 lines (a guess from
the braces, so it is not part of the test).
"""
import argparse
import fnmatch
import pathlib
import re
import sys

from cpp_text import declared_operations, operations_of, read_tree, scopes, source

# ---- tables --------------------------------------------------------------------------------------

# Each layer includes itself and those before it.
LAYERS = ["base", "core", "runtime", "net", "service", "testing"]

# Plugs: folders of src/ that may include only these headers, and themselves. The header of net has
# plain values, which the waist names without a definition and the worlds fill in. Nobody includes a
# plug, but PLUG_USERS. Those of the first two are below the waist. `tls` and `statics` are optional
# components above it: each is a library of its own, and `tls` has public headers in
# include/coro/tls/. `doctor` is a program.
PLUG_INCLUDES = [
    "coro/base/*",
    "coro/version.hpp",
    "coro/runtime/detail/operation.hpp",
    "coro/runtime/detail/detached.hpp",
    "coro/net/tcp_info.hpp",
    "coro/runtime/poller_choice.hpp",
    "runtime/poller.hpp",
    "runtime/poller_options.hpp",
    "runtime/world.hpp",
    "runtime/make_poller.hpp",
    "runtime/thread.hpp",
    "runtime/socket_diag.hpp",
]
PLUGS = {"poller": PLUG_INCLUDES, "sim": PLUG_INCLUDES + ["coro/sim/*"], "tls": ["coro/*"],
         "statics": ["coro/core/*"], "doctor": ["coro/*"]}
# Folders of src/ that include public headers only: users could have written them.
ORDINARY = ["service", "tls", "doctor"]
# (private names of other layers that the headers of service/ may use, reason)
ORDINARY_CHECKS = {
    "check_body_callable": "says at compile time that a handler is no temporary closure",
    "check_startable": "says that it is the handler whose task cannot run, where spawn knows none",
}
PLUG_USERS = ["src/poller/make_poller.cpp"]
# What a program says to a plug: plain values, so that `runtime` and all above may include it.
PLUG_FACES = ["coro/sim/*"]

# Where the process as a whole is looked after: signal dispositions, fork, descriptor limit, what a
# stack overflow says.
PROCESS = [
    "src/core/stack_overflow.cpp",
    "src/runtime/process.cpp",
    "src/runtime/processors.cpp",
    "src/runtime/signals*.cpp",
]
# What else must be put right in a child of fork(2): locks, and the list of the runs that live.
FORK_HANDLERS = ["src/base/report.cpp", "src/core/home_loop.cpp", "src/core/loop.cpp",
                 "src/runtime/loop_witness.cpp"]

# The questions about TCP are put to the kernel itself.
RAW_TCP = ["examples/tcp/*"]

# fmt: off
# (header patterns, files that may include them, reason). A header that is neither coro's nor of the
# C++ library must be in the table; the first row that matches decides. Tests and the raw contenders
# in perf/ are held to OWNED_EVERYWHERE only.
OWNERS = [
    (["boost/context/*"], ["src/core/fiber.cpp", "perf/micro/*"],
     "one file switches stacks; the micro-benchmark measures the raw switch"),
    (["openssl/*"], ["src/tls/*"],
     "TLS is an optional component"),
    (["liburing.h", "linux/io_uring.h", "liburing/*"], ["src/poller/uring_*"],
     "one backend talks to the ring"),
    (["sys/epoll.h"], ["src/poller/epoll_*"],
     "one backend talks to epoll"),
    (["sanitizer/*"], ["src/core/sanitizers.hpp"],
     "stack switches are announced to the sanitizers"),
    (["cxxabi.h"], ["src/core/fiber.cpp", "src/runtime/signals_probe.cpp"],
     "the C++ runtime's exception state is switched with the stack; one file makes names readable"),
    (["execinfo.h", "dlfcn.h"], ["src/runtime/signals_probe.cpp"],
     "the stack of a thread is read, and its functions are named, in one file"),
    (["sys/syscall.h"], ["src/poller/*", "src/runtime/signals_probe.cpp",
                         "src/doctor/dump_request.cpp", *RAW_TCP],
     "the C library has no call for a signal with a value to a thread that may have ended, and "
     "old ones have none for a pidfd"),
    (["sys/mman.h"],
     ["src/poller/*", "src/core/stack_pool.cpp", "src/core/stack_overflow.cpp",
      "src/testing/large_transfers.cpp"],
     "memory is mapped for rings, for the stacks of fibers, and for tests of large transfers"),
    (["malloc.h"], ["src/core/loan.cpp"],
     "the allocator is asked for the size of a frame's block in one file"),
    (["net/if.h"], ["src/poller/*", "src/net/interface_names.cpp", *RAW_TCP],
     "the scope of an IPv6 address is the name of an interface, looked up in one file"),
    (["hiredis/*"], ["examples/redis_*"],
     "an example shows a client that uses it as a codec"),
    (["libpq-fe.h"], ["examples/postgres_*", "examples/ended_sessions.hpp"],
     "an example shows a client that waits for the socket of libpq"),
    (["fcntl.h", "sys/socket.h"],
     ["src/poller/*", "examples/postgres_connection.hpp", "examples/ended_sessions.hpp", *RAW_TCP],
     "what libpq does not tell of its socket that example asks the kernel"),
    (["poll.h", "unistd.h"],
     ["src/poller/*", *PROCESS, "src/base/report.cpp", "src/doctor/dump_request.cpp",
      "examples/ended_sessions.hpp", *RAW_TCP],
     "the default report hook asks whether stderr has room before it writes; an example closes the "
     "duplicate of a socket"),
    (["pthread.h"], ["src/poller/*", *PROCESS, *FORK_HANDLERS],
     "threads belong to the waist, and what a fork must not break has its files"),
    (["signal.h", "sys/signalfd.h", "sys/wait.h", "sched.h", "sys/resource.h"],
     ["src/poller/*", *PROCESS, *RAW_TCP, "src/doctor/dump_request.cpp"],
     "signals, fork and the descriptor limit are the process's, not a backend's"),
    (["*.h", "*/*"], ["src/poller/*", *RAW_TCP],
     "the operating system is met at the waist"),
]
OWNED_EVERYWHERE = ["boost/context/*", "openssl/*"]
# Rows for files that are not written yet.
PLANNED = ["src/tls/*"]

# (pattern, files that may, reason): calls that belong to the waist, in include/ and src/.
WAIST = ["src/poller/*"]
CALLS = [
    (r"\b\w*clock::now\b", WAIST,
     "time comes from the waist: ask the loop"),
    (r"\b(clock_gettime|gettimeofday|timespec_get)\s*\(", [*WAIST, "src/base/report.cpp"],
     "time comes from the waist (but the rate limit of reports counts also where no loop runs)"),
    (r"(?<![\w.>:])(std::)?(rand|srand|drand48)\s*\(|\bmt19937|\brandom_device\b|\bgetrandom\s*\(",
     WAIST,
     "randomness comes from the waist"),
    (r"\bstd::(jthread|thread|async)\b(?!::id)|\bpthread_create\s*\(", WAIST,
     "threads come from the waist"),
    (r"\bthis_thread::sleep|\b(nanosleep|usleep|sched_yield)\s*\(", WAIST,
     "waiting is done in the poller"),
    (r"\bgetaddrinfo\s*\(|\bgethostbyname", WAIST,
     "names are resolved through the waist"),
    (r"(?<![\w>])::(socket|accept4?|bind|listen|connect|send(to|msg)?|recv(from|msg)?|readv?|"
     r"writev?|open|close|poll|select|shutdown|fcntl|ioctl|[gs]etsockopt|eventfd|pipe2?)\s*\(",
     [*WAIST, "src/core/stack_overflow.cpp", "src/base/report.cpp", "src/doctor/dump_request.cpp"],
     "descriptors belong to the waist"),
    (r"(?<![\w.>:])(socket|accept4|epoll_\w+|[gs]etsockopt|eventfd|timerfd_\w+|signalfd)\s*\(",
     WAIST,
     "descriptors belong to the waist"),
    (r"(?<![\w.>:])(::)?(fork|vfork|posix_spawnp?|sigaction)\s*\(",
     [*WAIST, *PROCESS],
     "signal dispositions and fork have their files"),
    (r"\bpthread_atfork\s*\(", [*WAIST, *PROCESS, *FORK_HANDLERS],
     "what a fork must not break has its files"),
]
# fmt: on

# (files, lines at most)
SIZES = [("include/*.hpp", 400), ("examples/*.cpp", 100), ("*.hpp", 600), ("*.cpp", 600)]
COLUMNS = 100
COLUMNS_OF = ["*.hpp", "*.cpp", "*.def", "*.py"]
FUNCTION_LINES = 70
MACROS = 5

STANDARD = set(
    """
algorithm any array atomic barrier bit bitset charconv chrono codecvt compare complex concepts
condition_variable coroutine deque exception execution filesystem forward_list fstream functional
future initializer_list iomanip ios iosfwd iostream istream iterator latch limits list locale map
memory memory_resource mutex new numbers numeric optional ostream queue random ranges ratio regex
scoped_allocator semaphore set shared_mutex source_location span sstream stack stdexcept stop_token
streambuf string string_view syncstream system_error thread tuple type_traits typeindex typeinfo
unordered_map unordered_set utility valarray variant vector version cassert cctype cerrno cfenv
cfloat cinttypes climits clocale cmath csetjmp csignal cstdarg cstddef cstdint cstdio cstdlib
cstring ctime cuchar cwchar cwctype
""".split()
)

# ---- rules: each takes the root and the files, and yields (file, line, sentence) -----------------


def layer_of(name):
    """The folder that decides: include/coro/net/tcp.hpp and src/net/tcp.cpp are both of `net`."""
    match = re.match(r"(?:include/coro|src)/(\w+)/", name)
    return match.group(1) if match else None


def header_layer(header, quoted):
    """The layer of an included header of ours; None when it is not ours or belongs to no layer."""
    if header.startswith("coro/"):
        parts = header.split("/")
        return parts[1] if len(parts) > 2 else "base"
    if quoted and "/" in header:
        return header.split("/")[0]
    return None


def rule_layers(_root, files):
    for file in files:
        if (
            not file.within("include/*", "src/*")
            or not file.is_cpp()
            or file.name == "include/coro/coro.hpp"
        ):
            continue
        own = layer_of(file.name) or "base"
        for line, header, quoted in file.includes():
            if header == "coro/coro.hpp":
                yield file, line, "the umbrella header is for programs; include what is used"
                continue
            if quoted and file.within("include/*"):
                yield file, line, f'a public header includes <coro/…>; "{header}" is not installed'
                continue
            other = header_layer(header, quoted)
            if other is None or other == own:
                continue
            if own in PLUGS and file.name.startswith("src/"):
                allowed = any(fnmatch.fnmatch(header, pattern) for pattern in PLUGS[own])
                if not allowed and not (file.within(*PLUG_USERS) and other in PLUGS):
                    seen = ", ".join(PLUGS[own])
                    yield file, line, f"{own}/ is a plug and sees only {seen}; not {header}"
            elif other in PLUGS:
                is_face = any(fnmatch.fnmatch(header, pattern) for pattern in PLUG_FACES)
                if is_face and own in LAYERS and LAYERS.index(own) >= LAYERS.index("runtime"):
                    continue
                if not file.within(*PLUG_USERS) and not (own == "sim" and other == "sim"):
                    yield file, line, f"nobody includes {other}/ but {', '.join(PLUG_USERS)}"
            elif own in LAYERS and other in LAYERS and LAYERS.index(other) > LAYERS.index(own):
                yield file, line, f"{own} is below {other} and must not include {header}"
            elif own in LAYERS and other not in LAYERS:
                yield file, line, f"{other}/ is in no layer; add it to the table in tools/tidy.py"


def rule_service_is_ordinary(_root, files):
    """serve, TLS and coro-doctor are what users could have written: a private header would be a
    part that they lack."""
    for file in files:
        own = layer_of(file.name)
        if own not in ORDINARY or not file.within("src/*") or not file.is_cpp():
            continue
        for line, header, quoted in file.includes():
            if header.startswith((f"{own}/", f"coro/{own}/")):
                continue
            if "/detail/" in header or (quoted and own not in PLUGS):  # rule_layers has the rest
                yield file, line, f"{own}/ uses what users can: public headers only; not {header}"


PRIVATE_NAME = re.compile(
    r"^(?:(?:class|struct)\s+(?:CORO_EXPORT\s+)?(\w+)(?=[^;{}]*\{)"
    r"|concept\s+(\w+)"
    r"|(?!using\b|namespace\b|template\b|CORO_|#|static_assert\b)\w[^=;{}()\n]*[\s*&](\w+)\()",
    re.MULTILINE,
)


# Of a function that is exported, and of a class whose definition stands in src/.
EXPORTED_NAME = re.compile(
    r"^CORO_EXPORT\s[^=;{}()\n]*[\s*&>](\w+)\(|^(?:class|struct)\s+(\w+);", re.MULTILINE)


def rule_service_headers_are_ordinary(_root, files):
    """The templates of serve, too. They stand in the namespace `detail`, where a private name of
    another layer needs no `detail::`. There a name of one word may be any variable's, and is not
    looked at."""
    private = set()
    own = set(ORDINARY_CHECKS)
    for file in files:
        if file.within("include/coro/service/*"):
            own |= {next(filter(None, found)) for found in EXPORTED_NAME.findall(file.code)}
        names = {next(filter(None, found)) for found in PRIVATE_NAME.findall(file.code)}
        if file.within("include/coro/service/*"):
            own |= names
        elif file.within("include/coro/*/detail/*.hpp"):
            private |= {name for name in names if "_" in name}
    private -= own
    for file in files:
        if not file.within("include/coro/service/*"):
            continue
        for match in re.finditer(r"(\bdetail::)?(?<![\w.>])\b(\w+)", file.code):
            qualified, name = match.groups()
            if name in private or (qualified and name not in own):
                line = file.line_at(match.start())
                yield file, line, f"service/ uses what users can: {name} is private elsewhere"


def rule_owners(_root, files):
    for file in files:
        if not file.is_cpp():
            continue
        for line, header, quoted in file.includes():
            if quoted or header.startswith("coro/") or header in STANDARD:
                continue
            if file.within("include/*"):
                yield file, line, f"<{header}>: no system or third-party header in a public one"
                continue
            if not file.within("src/*", "examples/*"):
                if not any(fnmatch.fnmatch(header, pattern) for pattern in OWNED_EVERYWHERE):
                    continue
            for patterns, owners, reason in OWNERS:
                if any(fnmatch.fnmatch(header, pattern) for pattern in patterns):
                    if not file.within(*owners):
                        yield file, line, f"<{header}> belongs to {', '.join(owners)}: {reason}"
                    break
            else:
                yield file, line, f"<{header}> is neither standard nor owned; see OWNERS in tidy.py"


def rule_no_system_switch(_root, files):
    switch = re.compile(
        r"^[ \t]*#[ \t]*(?:el)?if(?:n?def)?\b.*"
        r"\b(__linux__|__linux|linux|__unix__|_WIN32|_WIN64|__APPLE__|__FreeBSD__|__CYGWIN__)\b",
        re.MULTILINE,
    )
    for file in files:
        if file.within("include/*.hpp"):
            for match in switch.finditer(file.code):
                line = file.line_at(match.start())
                yield file, line, f"no #if on the operating system here ({match.group(1)})"


def rule_calls(_root, files):
    for file in files:
        if not file.within("include/*", "src/*") or not file.is_cpp():
            continue
        for pattern, allowed, reason in CALLS:
            if file.within(*allowed):
                continue
            for match in re.finditer(pattern, file.code):
                yield file, file.line_at(match.start()), f"'{match.group().strip()}': {reason}"


def rule_unit_tests_do_not_sleep(_root, files):
    for file in files:
        if file.within("tests/unit/*.cpp"):
            for match in re.finditer(
                r"\bthis_thread::sleep\w*|\b(?:usleep|nanosleep)\s*\(", file.code
            ):
                line = file.line_at(match.start())
                yield file, line, "a unit test never really sleeps; use virtual time"


def rule_sizes(_root, files):
    for file in files:
        for pattern, most in SIZES:
            if file.within(pattern):
                count = len(file.lines) - (file.lines[-1] == "")
                if count > most:
                    yield file, count, f"{count} lines, at most {most}: split by idea"
                break
        if file.within(*COLUMNS_OF):
            for number, line in enumerate(file.lines, 1):
                if len(line) > COLUMNS:
                    yield file, number, f"{len(line)} columns, at most {COLUMNS}"


def rule_form(_root, files):
    for file in files:
        first = file.lines[0]
        if file.path.suffix == ".hpp":
            body = [line for line in file.lines if line.strip() and not line.startswith("//")]
            if not re.match(r"// \S", first):
                yield file, 1, "a header begins with a comment that says what it is for"
            if not body or body[0] != "#pragma once":
                yield file, 1, "after the comment on top comes #pragma once"
        if file.within("examples/*.cpp"):
            top = []
            for line in file.lines:
                if not line.startswith("//"):
                    break
                top.append(line)
            if not re.search(r"\b[Rr]un", "\n".join(top)):
                yield file, 1, "an example says on top how to run it and what one will see"
        for number, line in enumerate(file.lines, 1):
            if file.is_cpp() and line != line.rstrip():
                yield file, number, "blanks at the end of the line"
            if file.is_cpp() and "\t" in line:
                yield file, number, "a tab; indent by spaces"
            if file.is_cpp() and re.match(r"namespace \w+(::\w+)*::inline ", line):
                yield file, number, "write `namespace coro { inline namespace v0 {`: ctags reads it"


def rule_macros(_root, files):
    seen = {}
    for file in files:
        if not file.within("include/*.hpp"):
            continue
        for match in re.finditer(r"^[ \t]*#[ \t]*define[ \t]+(\w+)", file.code, re.MULTILINE):
            name, line = match.group(1), file.line_at(match.start())
            if re.search(rf"^[ \t]*#[ \t]*undef[ \t]+{name}\b", file.code, re.MULTILINE):
                continue
            if not name.startswith("CORO_") or not name.isupper():
                yield file, line, f"macro {name}: a public macro is CORO_ and capitals"
            seen.setdefault(name, (file, line))
    if len(seen) > MACROS:
        file, line = list(seen.values())[MACROS]
        yield file, line, f"{len(seen)} public macros, at most {MACROS}: {', '.join(seen)}"


def rule_exported_tables(_root, files):
    # A shared library keeps the table of a class to itself unless the class is exported, and
    # whoever makes an object of it inline cannot link.
    for file in files:
        if file.within("include/*.hpp"):
            for match in re.finditer(r"\bCORO_EXPORT\b[^;{}]*\b(override|virtual)\b", file.code):
                line = file.line_at(match.start())
                yield file, line, "export the class: its table of virtual functions is hidden"


def rule_no_promises(_root, files):
    words = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")
    for file in files:
        for number, line in enumerate(file.lines, 1):
            if match := words.search(line):
                yield file, number, f"{match.group()}: do it, or write it into an issue"


OPERATIONS = "tests/conformance/operations.def"


def rule_no_halves(_root, files):
    """What a merge leaves where it could not decide."""
    for file in files:
        for number, line in enumerate(file.lines, 1):
            if line.startswith(("<" * 7 + " ", ">" * 7 + " ")):
                yield file, number, "both halves of a merge; make one of them"


def rule_operations(root, files):
    declared = {}
    for file in files:
        if file.within("include/*.hpp"):
            for name, line in operations_of(file).items():
                declared.setdefault(name, (file, line))
    listing = next((file for file in files if file.name == OPERATIONS), None)
    if listing is None:
        yield pathlib.Path(root) / OPERATIONS, 1, "this list of every public awaitable is missing"
        return
    listed = {}
    for number, line in enumerate(listing.lines, 1):
        if not line.strip() or line.startswith(("//", "#")):
            continue
        match = re.fullmatch(r'CORO_OPERATION\(([\w:]+), "([^"]+)"\)', line)
        if not match:
            yield listing, number, 'a line here is: CORO_OPERATION(qualified::name, "category")'
        elif match.group(1) in listed:
            yield listing, number, f"{match.group(1)} is listed twice"
        else:
            listed[match.group(1)] = number
    for name, (file, line) in declared.items():
        if name not in listed:
            yield file, line, f"{name} can be awaited and is not in {OPERATIONS}"
    for name, number in listed.items():
        if name not in declared:
            how = '[[nodiscard("co_await …")]]'
            yield listing, number, f"{name} is listed, and no public header declares it {how}"


def docstring_above(file, line):
    """The first line of the docstring of what is declared at `line`, or None."""
    at = line - 2  # counted from 0, the line above
    while at >= 0 and re.match(r"\s*(template\b|requires\b|[^/\s][^;{}]*$)", file.lines[at]):
        at -= 1
    first = None
    while at >= 0 and file.lines[at].lstrip().startswith("///"):
        first = file.lines[at].strip()
        at -= 1
    return first


def rule_returns(_root, files):
    """What an await returns is the first thing that a docstring of an awaitable says. An overload
    below another one may share its docstring."""
    for file in files:
        if not file.within("include/*.hpp"):
            continue
        told = set()
        for name, line in declared_operations(file):
            first = docstring_above(file, line)
            if first is None and name in told:
                continue
            if first is None:
                yield file, line, f"{name} can be awaited and has no docstring"
            elif not first.startswith("/// Returns "):
                sentence = f"{name}: the first line says what the await returns: /// Returns …"
                yield file, line, sentence
            told.add(name)


def rule_links(root, files):
    for file in files:
        if file.path.suffix != ".md":
            continue
        prose = re.sub(
            r"^(```|~~~).*?^\1",
            lambda m: re.sub(r"[^\n]", " ", m.group()),
            file.text,
            flags=re.DOTALL | re.MULTILINE,
        )
        prose = re.sub(r"`[^`\n]*`", lambda m: " " * len(m.group()), prose)
        for match in re.finditer(
            r"\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)|^\[[^\]]+\]:\s*(\S+)", prose, re.MULTILINE
        ):
            target = (match.group(1) or match.group(2)).split("#")[0]
            if not target or re.match(r"[a-z]+:", target):
                continue
            base = pathlib.Path(root) if target.startswith("/") else file.path.parent
            if not (base / target.lstrip("/")).exists():
                yield file, file.line_at(match.start()), f"the link {target} leads nowhere"


RECORDS = "docs/design/decisions/[0-9]*.md"


def rule_records(_root, files):
    for file in files:
        if file.within(RECORDS):
            head = "\n".join(file.lines[1:4])
            for name, form in (("Status", r"(accepted|superseded)\b"),
                               ("Date", r"\d{4}-\d\d-\d\d$")):
                if not re.search(rf"^{name}: {form}", head, re.MULTILINE):
                    yield file, 1, f"a decision record has a line `{name}: …` under its title"


def rule_tables(_root, files):
    """A row of the tables above that matches no file is a rule about nothing."""
    tables = next((file for file in files if file.name == "tools/tidy.py"), None)
    if tables is None:
        return
    rows = [*PROCESS, *FORK_HANDLERS, *PLUG_USERS, *(f"src/{plug}/*" for plug in PLUGS)]
    rows += [row for _, row_files, _ in [*OWNERS, *CALLS] for row in row_files]
    for row in sorted(set(rows)):
        there = any(file.within(row) for file in files)
        if not there and row not in PLANNED:
            yield tables, 1, f"{row} in a table matches no file: remove it"
        elif there and row in PLANNED:
            yield tables, 1, f"{row} is there and no longer planned: take it out of PLANNED"


def rule_version(_root, files):
    by_name = {file.name: file for file in files}
    cmake, header = by_name.get("CMakeLists.txt"), by_name.get("include/coro/version.hpp")
    if not cmake or not header:
        return
    project = re.search(r"project\(coro VERSION ([\d.]+)", cmake.text)
    parts = [
        re.search(rf"version_{part} = (\d+)", header.text) for part in ("major", "minor", "patch")
    ]
    told = ".".join(part.group(1) if part else "?" for part in parts)
    if not project or project.group(1) != told:
        wanted = project.group(1) if project else "?"
        yield header, 1, f"says {told}, and CMakeLists.txt says {wanted}"


RULES = [
    rule_layers,
    rule_service_is_ordinary,
    rule_service_headers_are_ordinary,
    rule_owners,
    rule_no_system_switch,
    rule_calls,
    rule_unit_tests_do_not_sleep,
    rule_sizes,
    rule_form,
    rule_macros,
    rule_exported_tables,
    rule_no_promises,
    rule_no_halves,
    rule_operations,
    rule_returns,
    rule_links,
    rule_records,
    rule_tables,
    rule_version,
]


def long_functions(files):
    for file in files:
        if not file.within("src/*", "include/*"):
            continue
        for begin, end, outer, kind, header in scopes(file.code):
            if kind[0] == "block" and ")" in header and all(entry[0] != "block" for entry in outer):
                count = file.line_at(end) - file.line_at(begin) + 1
                if count > FUNCTION_LINES:
                    name = header.split("(")[0].split()[-1]
                    sentence = f"{name}: {count} lines, at most about {FUNCTION_LINES}"
                    yield file, file.line_at(begin), sentence


def findings(root, functions=False):
    """All findings on the tree below `root`, as printable lines."""
    root = pathlib.Path(root).resolve()
    files = read_tree(root)
    rules = list(RULES) + ([lambda _root, every: long_functions(every)] if functions else [])
    found = []
    for rule in rules:
        for file, line, sentence in rule(root, files):
            name = file.name if isinstance(file, source) else file.relative_to(root).as_posix()
            found.append((name, line, sentence))
    return len(files), [f"{name}:{line}: {sentence}" for name, line, sentence in sorted(found)]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", default=pathlib.Path(__file__).resolve().parents[1])
    parser.add_argument("--functions", action="store_true", help="also name long functions")
    options = parser.parse_args()
    count, found = findings(options.root, options.functions)
    for line in found:
        print(line)
    print(f"tidy: {count} files, {len(found)} findings")
    return 1 if found or count == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
