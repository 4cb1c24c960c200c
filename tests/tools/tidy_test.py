#!/usr/bin/env python3
# ctest: timeout=60 label=static
"""Each rule of tools/tidy.py can fail: a clean tree, in which each test plants one offence."""
import os
import pathlib
import sys
import tempfile
import unittest

ROOT = pathlib.Path(os.environ.get("CORO_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(ROOT / "tools"))
import tidy  # noqa: E402

# Files of a tree without findings; what follows a line `=== name` is that file.
CLEAN_TEXT = r"""
=== CMakeLists.txt
project(coro VERSION 0.1.0)
=== README.md
See [the guide](docs/guide.md#start), [home](https://example.org) and [above](#top).
=== docs/guide.md
# start

[back](../README.md)

```
[not a link](nowhere.md)
```
=== include/coro/coro.hpp
// Everything.
#pragma once
#include <coro/net/tcp.hpp>
#include <coro/version.hpp>
=== include/coro/version.hpp
// The version.
#pragma once
inline constexpr int version_major = 0;
inline constexpr int version_minor = 1;
inline constexpr int version_patch = 0;
=== include/coro/base/time.hpp
// Time.
#pragma once
#include <chrono>
#define CORO_ONE 1
=== include/coro/core/task.hpp
// The task. No clock::now() here, nor socket(), in this comment.
#pragma once
#include <coro/base/time.hpp>
namespace coro { inline namespace v0 {
template <typename T = void>
class [[nodiscard("co_await it or spawn it")]] task {};
const char* text = "std::steady_clock::now() rand() { // [[nodiscard(\"co_await";
}}
=== include/coro/runtime/detail/operation.hpp
// Operations.
#pragma once
#include <coro/core/task.hpp>
=== include/coro/net/tcp.hpp
// TCP.
#pragma once
#include <coro/runtime/detail/operation.hpp>
namespace coro { inline namespace v0 {
/// Returns nothing, after `ms`.
[[nodiscard("co_await it or spawn it")]] task<> sleep_for(int ms);
namespace net {
class CORO_ONE tcp_stream final : private base<int> {
public:
    /// Returns `std::vector`: bytes.
    /// Throws: cancelled.
    [[nodiscard("co_await it or spawn it")]] task<std::vector<int>>
    read_some(int into);
    [[nodiscard("co_await it or spawn it")]] task<std::vector<int>>
    read_some(long into);
    /// Returns what `f` returns.
    template <typename F>
        requires (sizeof(F) > 1)
    [[nodiscard("co_await it")]] auto with(F f) -> task<decltype(f())>;
    [[nodiscard]] int plain();
};
}
namespace detail {
[[nodiscard("co_await it")]] task<> hidden();
}
}}
=== src/runtime/poller.hpp
// The waist.
#pragma once
#include <coro/runtime/detail/operation.hpp>
=== src/poller/epoll_poller.cpp
// epoll.
#include "runtime/poller.hpp"
#include <sys/epoll.h>
#include <unistd.h>
auto t = std::chrono::steady_clock::now();
int f = ::close(3);
=== src/poller/make_poller.cpp
// Makes.
#include "sim/sim_poller.hpp"
=== src/sim/sim_poller.hpp
// Simulates.
#pragma once
#include "runtime/poller.hpp"
=== examples/hello.cpp
// Run it: build/debug/examples/hello. You will see a greeting.
#include <coro/coro.hpp>
=== perf/contenders/raw.cpp
// Raw.
#include <sys/epoll.h>
#include <coro/coro.hpp>
=== tests/unit/net/tcp_test.cpp
// Tests.
#include <coro/coro.hpp>
#include <unistd.h>
=== tests/conformance/operations.def
// All.
CORO_OPERATION(coro::sleep_for, "time")
CORO_OPERATION(coro::net::tcp_stream::read_some, "stream")
CORO_OPERATION(coro::net::tcp_stream::with, "stream")
"""
CLEAN = dict(part.split("\n", 1) for part in CLEAN_TEXT.split("\n=== ")[1:])
CLEAN = {name: text.rstrip("\n") + "\n" for name, text in CLEAN.items()}


def header(*lines):
    return "// A header.\n#pragma once\n" + "".join(line + "\n" for line in lines)


def code(*lines):
    return "// A source.\n" + "".join(line + "\n" for line in lines)


class rules(unittest.TestCase):
    def look(self, planted=None, functions=False, without=()):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in {**CLEAN, **(planted or {})}.items():
                if name not in without:
                    path = pathlib.Path(folder) / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(text, encoding="utf-8")
            return tidy.findings(folder, functions)[1]

    def refuses(self, name, text, sentence):
        """Planting this file gives exactly one finding, in it, with this sentence."""
        found = self.look({name: text})
        self.assertEqual(len(found), 1, found)
        self.assertTrue(found[0].startswith(name + ":"), found)
        self.assertIn(sentence, found[0])

    def accepts(self, name, text):
        self.assertEqual(self.look({name: text}), [])

    def test_the_clean_tree_is_clean(self):
        self.assertEqual(self.look(), [])

    # layers

    def test_a_layer_includes_a_higher_one(self):
        self.refuses(
            "include/coro/core/fiber.hpp",
            header("#include <coro/net/tcp.hpp>"),
            "core is below net",
        )
        self.refuses(
            "src/base/error.cpp", code('#include "runtime/poller.hpp"'), "base is below runtime"
        )

    def test_the_umbrella_header_inside_the_library(self):
        self.refuses("src/net/tcp.cpp", code("#include <coro/coro.hpp>"), "umbrella")

    def test_a_plug_sees_more_than_the_waist(self):
        self.refuses(
            "src/poller/uring_poller.cpp", code("#include <coro/core/task.hpp>"), "is a plug"
        )
        self.refuses("src/sim/network.cpp", code("#include <coro/net/tcp.hpp>"), "is a plug")
        self.refuses(
            "src/poller/uring_poller.cpp", code('#include "sim/sim_poller.hpp"'), "is a plug"
        )

    def test_service_uses_a_private_header(self):
        for line in (
            '#include "runtime/scheduler.hpp"',
            '#include "net/idle_watch.hpp"',
            "#include <coro/net/detail/socket.hpp>",
        ):
            self.refuses("src/service/server.cpp", code(line), "public headers only")
        self.accepts("src/service/server.cpp", code("#include <coro/net/tcp.hpp>"))
        self.accepts("src/service/server.cpp", code('#include "service/server_share.hpp"'))

    def test_a_header_of_service_names_a_private_part(self):
        name = "include/coro/service/detail/served.hpp"
        door = "include/coro/core/detail/task_awaiter.hpp"
        parts = header(
            "struct task_access {};",
            "concept task_type = true;",
            "void check_startable(int& child);",
            "constexpr bool start_child(int& child) {}",
            "struct loop {};",
        )
        for private, line in (
            ("task_access", "bool b = task_access::promise(child).capturing_closure;"),
            ("task_type", "template <task_type T> void f();"),
            ("start_child", "bool b = start_child(child);"),
            ("loop", "detail::loop* where;"),
            ("unknown", "int i = coro::detail::unknown;"),
        ):
            found = self.look({door: parts, name: header(line)})
            self.assertEqual(len(found), 1, found)
            self.assertIn(f"{name}:3: service/ uses what users can: {private} is", found[0])
        for line in (
            "class acceptor { detail::acceptor* next; };",
            "void f(int& child) { check_startable(child); }",
            "void f(const loop_handle& loop);",
            "// task_access",
        ):
            self.assertEqual(self.look({door: parts, name: header(line)}), [])
        # Another layer may.
        user = "include/coro/net/detail/user.hpp"
        self.assertEqual(self.look({door: parts, user: header("task_access* door;")}), [])

    def test_tls_is_a_component_above_net(self):
        name = "src/tls/tls_stream.cpp"
        for header_of in ("net/transport.hpp", "tls/tls_stream.hpp", "tls/detail/session.hpp"):
            self.accepts(name, code(f"#include <coro/{header_of}>"))
        self.accepts(name, code("#include <openssl/ssl.h>"))
        self.accepts(name, code('#include "tls/handshake.hpp"'))
        self.refuses(name, code('#include "net/transport_table.hpp"'), "tls/ is a plug")
        self.refuses(name, code("#include <coro/net/detail/socket.hpp>"), "public headers only")
        self.accepts("include/coro/tls/tls_stream.hpp", header("#include <coro/net/stream.hpp>"))
        self.refuses(
            "include/coro/net/other.hpp",
            header("#include <coro/tls/tls_stream.hpp>"),
            "nobody includes tls/",
        )

    def test_somebody_includes_a_plug(self):
        self.refuses(
            "src/runtime/run.cpp", code('#include "sim/sim_poller.hpp"'), "nobody includes sim/"
        )
        self.refuses(
            "src/net/tcp.cpp", code('#include "poller/epoll_poller.hpp"'), "nobody includes poller/"
        )

    def test_a_folder_without_layer(self):
        self.refuses("src/net/tcp.cpp", code('#include "strange/thing.hpp"'), "in no layer")

    def test_a_public_header_includes_a_private_one(self):
        self.refuses(
            "include/coro/runtime/run.hpp", header('#include "runtime/poller.hpp"'), "not installed"
        )

    # owners

    def test_headers_outside_of_their_owner(self):
        for included in ("liburing.h", "linux/io_uring.h"):
            self.refuses(
                "src/poller/epoll_table.cpp",
                code(f"#include <{included}>"),
                "belongs to src/poller/uring_",
            )
        self.refuses(
            "src/poller/uring_poller.cpp",
            code("#include <sys/epoll.h>"),
            "belongs to src/poller/epoll_",
        )
        self.refuses(
            "src/core/context.cpp",
            code("#include <boost/context/fiber.hpp>"),
            "belongs to src/core/fiber.cpp",
        )
        self.refuses(
            "perf/contenders/f.cpp",
            code("#include <boost/context/fiber.hpp>"),
            "belongs to src/core/fiber.cpp",
        )
        self.refuses("src/net/tls.cpp", code("#include <openssl/ssl.h>"), "belongs to src/tls")
        self.refuses(
            "tests/unit/net/tls_test.cpp", code("#include <openssl/ssl.h>"), "belongs to src/tls"
        )
        for included in (
            "sys/socket.h",
            "netinet/tcp.h",
            "unistd.h",
            "fcntl.h",
            "poll.h",
            "sys/eventfd.h",
        ):
            self.refuses(
                "src/net/tcp.cpp", code(f"#include <{included}>"), "belongs to src/poller/*"
            )
            self.refuses(
                "examples/raw.cpp",
                f"// Run it.\n#include <{included}>\n",
                "belongs to src/poller/*",
            )

    def test_an_unknown_header(self):
        self.refuses("src/net/tcp.cpp", code("#include <zconf>"), "neither standard nor owned")

    def test_a_public_header_includes_a_system_one(self):
        self.refuses(
            "include/coro/net/udp.hpp",
            header("#include <sys/socket.h>"),
            "no system or third-party header",
        )
        self.refuses(
            "include/coro/net/udp.hpp",
            header("#include <liburing.h>"),
            "no system or third-party header",
        )

    def test_owners_may(self):
        self.accepts("src/core/fiber.cpp", code("#include <boost/context/detail/fcontext.hpp>"))
        self.accepts("src/poller/uring_abi.hpp", header("#include <linux/io_uring.h>"))
        self.accepts("src/net/interface_names.cpp", code("#include <net/if.h>"))

    def test_a_switch_on_the_operating_system(self):
        for line in ("#ifdef __linux__", "#if defined(_WIN32)", "#if 1 && defined(__APPLE__)"):
            self.refuses(
                "include/coro/net/udp.hpp", header(line, "#endif"), "no #if on the operating system"
            )
        self.accepts("include/coro/net/udp.hpp", header("#ifdef __clang__", "#endif"))

    # calls

    def test_calls_of_the_waist_elsewhere(self):
        for line, sentence in {
            "auto t = std::chrono::steady_clock::now();": "time comes",
            "auto t = clock::now();": "time comes",
            "clock_gettime(CLOCK_MONOTONIC, &t);": "time comes",
            "int n = rand();": "randomness comes",
            "int n = std::rand();": "randomness comes",
            "std::random_device device;": "randomness comes",
            "std::thread worker;": "threads come",
            "std::jthread worker;": "threads come",
            "pthread_create(&t, nullptr, f, nullptr);": "threads come",
            "std::this_thread::sleep_for(s);": "waiting is done",
            "getaddrinfo(a, b, c, d);": "names are resolved",
            "int s = socket(1, 2, 3);": "descriptors belong",
            "int s = ::accept4(1, 2, 3, 4);": "descriptors belong",
            "n = ::read(1, p, 3);": "descriptors belong",
            "auto p = fork();": "signal dispositions",
        }.items():
            with self.subTest(line=line):
                self.refuses("src/runtime/run.cpp", code(line), sentence)
                self.refuses("include/coro/runtime/run.hpp", header(line), sentence)
                self.accepts("tests/stress/a_test.cpp", code(line))

    def test_calls_that_only_look_alike(self):
        self.accepts(
            "src/runtime/run.cpp",
            code(
                "stream.read(1); poller->socket(2); net::connect(3); x.now();",
                "std::thread::id who; // std::thread, rand(), ::read(1)",
                'const char* s = "socket(1)"; auto r = R"(rand())";',
            ),
        )

    def test_a_unit_test_sleeps(self):
        self.refuses(
            "tests/unit/net/a_test.cpp",
            code("std::this_thread::sleep_for(s);"),
            "never really sleeps",
        )

    # sizes and form

    def test_sizes(self):
        self.refuses(
            "include/coro/net/udp.hpp", header(*["int a;"] * 399), "401 lines, at most 400"
        )
        self.accepts("include/coro/net/udp.hpp", header(*["int a;"] * 398))
        self.refuses("src/net/udp.cpp", code(*["int a;"] * 600), "601 lines, at most 600")
        self.refuses(
            "examples/long.cpp", "// Run it.\n" + "int a;\n" * 100, "101 lines, at most 100"
        )
        self.refuses("src/net/udp.cpp", code("// " + "x" * 98), "101 columns, at most 100")

    def test_form(self):
        self.refuses("include/coro/net/udp.hpp", "#pragma once\n", "begins with a comment")
        self.refuses(
            "include/coro/net/udp.hpp", "// UDP.\n#include <vector>\n", "comes #pragma once"
        )
        self.refuses("examples/a.cpp", "// A program.\nint a;\n", "how to run it")
        self.refuses("src/net/udp.cpp", code("int a; "), "blanks at the end")
        self.refuses("src/net/udp.cpp", code("\tint a;"), "a tab")
        self.refuses(
            "src/net/udp.cpp", code("namespace coro::inline v0 {", "}"), "ctags reads it"
        )

    def test_macros(self):
        self.refuses("include/coro/net/udp.hpp", header("#define PORT 1"), "CORO_ and capitals")
        self.refuses(
            "include/coro/net/udp.hpp",
            header(*[f"#define CORO_{c}(x) x" for c in "ABCDE"]),
            "6 public macros",
        )
        self.accepts(
            "include/coro/net/udp.hpp", header("#define CORO_A 1", "#define TMP 1", "#undef TMP")
        )

    def test_exported_tables(self):
        name = "include/coro/net/udp.hpp"
        sentence = "export the class"
        self.refuses(name, header("class a {", "CORO_EXPORT void b() override;", "};"), sentence)
        self.refuses(name, header("class a {", "CORO_EXPORT virtual void b();", "};"), sentence)
        self.accepts(name, header("class CORO_EXPORT a {", "virtual void b();", "};"))

    def test_promises(self):
        for word in ("TO" + "DO", "FIX" + "ME"):
            self.refuses(
                "src/net/udp.cpp", code(f"// {word}: later"), "do it, or write it into an issue"
            )
            self.refuses("docs/more.md", f"{word}\n", "do it, or write it into an issue")

    def test_halves_of_a_merge(self):
        for mark in ("<" * 7 + " HEAD", ">" * 7 + " other"):
            for name in ("docs/more.md", "perf/report.py"):
                self.refuses(name, f"{mark}\n", "both halves of a merge")
        self.accepts("docs/more.md", "=======\n")

    def test_long_functions_when_asked(self):
        planted = {"src/net/udp.cpp": code("void f(int a) {", *["    a = 1;"] * 70, "}")}
        self.assertEqual(self.look(planted), [])
        found = self.look(planted, functions=True)
        self.assertEqual(len(found), 1, found)
        self.assertIn("f: 72 lines", found[0])

    # operations, links, version

    def test_an_awaitable_that_is_not_listed(self):
        declaration = (
            "/// Returns nothing.\n"
            '[[nodiscard("co_await it or spawn it")]] task<> send(int a);'
        )
        self.refuses(
            "include/coro/net/udp.hpp",
            header("namespace coro { inline namespace v0 { namespace net {", "struct udp {",
                   declaration, "};", "}}}"),
            "coro::net::udp::send can be awaited",
        )
        self.refuses(
            "include/coro/net/udp.hpp",
            header("namespace coro {", declaration, "}"),
            "coro::send can be awaited",
        )
        self.accepts(
            "include/coro/net/udp.hpp", header("namespace coro::detail {", declaration, "}")
        )

    def test_what_an_await_returns_is_said_first(self):
        name, clean = "include/coro/net/tcp.hpp", CLEAN["include/coro/net/tcp.hpp"]
        for doc in ("    /// Returns what `f` returns.\n", "/// Returns nothing, after `ms`.\n"):
            self.assertIn(doc, clean)
            self.refuses(name, clean.replace(doc, ""), "can be awaited and has no docstring")
            other = doc.replace("Returns", "Calls it and returns")
            self.refuses(name, clean.replace(doc, other), "says what the await")
        # An overload that has a docstring of its own is held to the rule by itself.
        self.refuses(
            name,
            clean.replace(
                "    read_some(int into);\n", "    read_some(int into);\n    /// The same.\n"
            ),
            "read_some: the first line says",
        )

    def test_the_list_of_operations(self):
        name, listing = tidy.OPERATIONS, CLEAN[tidy.OPERATIONS]
        self.refuses(
            name,
            listing + 'CORO_OPERATION(coro::gone, "time")\n',
            "coro::gone is listed, and no public header",
        )
        self.refuses(name, listing + "CORO_OPERATION(coro::sleep_for)\n", "a line here is")
        self.refuses(name, listing + 'CORO_OPERATION(coro::sleep_for, "time")\n', "listed twice")
        found = self.look(without=[name])
        self.assertEqual(len(found), 1, found)
        self.assertIn("is missing", found[0])

    def test_links(self):
        self.refuses("docs/more.md", "[x](nowhere.md)\n", "leads nowhere")
        self.refuses("docs/more.md", "[x]: ../nowhere.md\n", "leads nowhere")
        self.accepts(
            "docs/more.md", '`[x](nowhere.md)` and [y](/README.md) and [z](guide.md "title")\n'
        )

    def test_records(self):
        name = "docs/design/decisions/0001-choice.md"
        record = "# 0001 Choice\n\nStatus: accepted\nDate: 2026-11-20\n\nWhy.\n"
        self.accepts(name, record)
        self.refuses(name, record.replace("Status: accepted\n", ""), "a line `Status: …`")
        self.refuses(name, record.replace("Date: 2026-11-20\n", ""), "a line `Date: …`")
        self.refuses(name, record.replace("2026-11-20", "today"), "a line `Date: …`")
        self.refuses(name, record.replace("accepted", "maybe"), "a line `Status: …`")

    def test_rows_of_the_tables_that_match_no_file(self):
        found = "\n".join(self.look({"tools/tidy.py": "# Its tables.\n"}))
        self.assertIn("src/core/fiber.cpp in a table matches no file", found)
        self.assertNotIn("src/poller/*", found)
        self.assertNotIn("src/tls/*", found)
        found = self.look({"tools/tidy.py": "# Its tables.\n", "src/tls/x.cpp": code()})
        self.assertIn("src/tls/* is there and no longer planned", "\n".join(found))

    def test_version(self):
        self.refuses(
            "include/coro/version.hpp",
            CLEAN["include/coro/version.hpp"].replace("minor = 1", "minor = 2"),
            "says 0.2.0",
        )

    def test_every_rule_is_named_here(self):
        known = {
            "rule_layers",
            "rule_service_is_ordinary",
            "rule_service_headers_are_ordinary",
            "rule_owners",
            "rule_no_system_switch",
            "rule_calls",
            "rule_unit_tests_do_not_sleep",
            "rule_sizes",
            "rule_form",
            "rule_macros",
            "rule_exported_tables",
            "rule_no_promises",
            "rule_no_halves",
            "rule_operations",
            "rule_returns",
            "rule_links",
            "rule_records",
            "rule_tables",
            "rule_version",
        }
        self.assertEqual(
            {rule.__name__ for rule in tidy.RULES}, known, "a new rule needs a test here"
        )


if __name__ == "__main__":
    unittest.main()
