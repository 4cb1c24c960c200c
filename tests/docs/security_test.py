#!/usr/bin/env python3
# ctest: timeout=60
"""The defaults in the table of SECURITY.md are those of the sources: each row names what holds its
limit, and a static_assert compares the two."""
import re
import subprocess
import unittest

from pages import CXX, ROOT

PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
# What the page names, as C++; options are looked at in a default-made object.
OPTIONS = {
    "server_limits": "coro::server_limits{}",
    "listen_options": "coro::net::listen_options{}",
    "buffered_stream_options": "coro::net::buffered_stream_options{}",
    "buffered_writer_options": "coro::net::buffered_writer_options{}",
    "frame_options": "coro::net::frame_options{}",
    "pool_options": "coro::pool_options{}",
    "shared_connection_options": "coro::shared_connection_options{}",
    "run_options": "coro::run_options{}",
    "poller_options": "coro::detail::poller_options{}",
}
CONSTANTS = {
    "default_stack_bytes": "coro::default_stack_bytes",
    "default_shield_limit": "coro::default_shield_limit",
    "stack_pool::guard_bytes": "coro::detail::stack_pool::guard_bytes",
    "inline_completions": "coro::detail::inline_completions",
    "scheduler::inline_bytes_per_answer":
        "coro::detail::scheduler::inline_bytes_per_answer * coro::detail::inline_completions",
    "scheduler::bytes_per_turn": "coro::detail::scheduler::bytes_per_turn",
    "scheduler::resumes_per_turn": "coro::detail::scheduler::resumes_per_turn",
    "scheduler::timers_per_turn": "coro::detail::scheduler::timers_per_turn",
    "block_cache::blocks_per_class": "coro::detail::block_cache::blocks_per_class",
    "group_errors::kept_at_most": "coro::group_errors::kept_at_most",
}
# Those that C++ outside of their file cannot see, as text.
TEXTS = {
    "lines_per_second": ("src/base/report.cpp", r"lines_per_second = (\d+);"),
    "tcp_stream::close_gracefully": ("include/coro/net/stream.hpp",
                                     r"close_gracefully\(\s*time_span limit = "
                                     r"std::chrono::seconds\((\d+)\)"),
}
WITHOUT_A_NUMBER = {"stack_pool::stacks_allowed", "server_limits::total"}
HEADERS = ["coro/coro.hpp", "coro/service/connection_pool.hpp",
           "coro/service/shared_connection.hpp", "core/stack_pool.hpp",
           "runtime/poller_options.hpp", "runtime/scheduler.hpp"]
UNITS = {"": "", " s": "s", " KiB": " * 1024", " MiB": " * 1024 * 1024"}


def rows():
    """(line, default as C++, [names]) of each row of the limits."""
    table = PAGE[PAGE.index("| limit | default | where |"):]
    for line in table.split("\n\n")[0].splitlines()[2:]:
        _, default, where = [cell.strip() for cell in line.strip("|").split("|")]
        number = re.match(r"(\d+(?: \d{3})*)( s| KiB| MiB|)(?=$|[,;])", default)
        value = number and number[1].replace(" ", "") + UNITS[number[2]]
        yield line, value, re.findall(r"`([^`]+)`", where)


def compiles(assertions):
    text = "".join(f"#include <{header}>\n" for header in HEADERS)
    text += "using namespace std::chrono_literals;\n" + "\n".join(assertions) + "\n"
    run = subprocess.run(
        [CXX, "-std=c++20", "-fsyntax-only", f"-I{ROOT}/include", f"-I{ROOT}/src", "-xc++", "-"],
        input=text, capture_output=True, text=True, check=False)
    return run.returncode == 0, run.stderr


def expression(name):
    head, _, member = name.partition("::")
    return f"{OPTIONS[head]}.{member}" if head in OPTIONS else CONSTANTS[name]


class defaults(unittest.TestCase):
    def test_they_are_those_of_the_sources(self):
        assertions = []
        for line, value, names in rows():
            self.assertTrue(names, line)
            for name in set(names) - WITHOUT_A_NUMBER:
                self.assertTrue(value, line)
                if name in TEXTS:
                    file, pattern = TEXTS[name]
                    found = re.search(pattern, (ROOT / file).read_text(encoding="utf-8"))
                    self.assertEqual(found[1], value.rstrip("s"), line)
                else:
                    assertions.append(f'static_assert({expression(name)} == {value}, "{name}");')
        self.assertGreater(len(assertions), 15)
        fine, diagnostics = compiles(assertions)
        self.assertTrue(fine, diagnostics)

    def test_a_wrong_one_would_be_seen(self):
        fine, diagnostics = compiles(
            ["static_assert(coro::server_limits{}.idle == 61s, \"idle\");"])
        self.assertFalse(fine)
        self.assertIn("idle", diagnostics)

    def test_no_limit_of_a_server_is_missing(self):
        named = {name for _, _, names in rows() for name in names}
        text = (ROOT / "include/coro/service/server.hpp").read_text(encoding="utf-8")
        body = re.search(r"struct server_limits \{(.*?)\n\};", text, re.DOTALL)[1]
        limits = set(re.findall(r"(?:size_t|time_span|duration) (\w+) =", body))
        self.assertLessEqual({"connections", "idle", "drain", "refusals"}, limits)
        self.assertEqual({f"server_limits::{each}" for each in limits} - named, set())


if __name__ == "__main__":
    unittest.main()
