// What two sides of the library's boundary must agree on. Prints the layout of the public types and
// what tasks, fibers, streams, loops and exceptions do: tests/install/abi_test.py compiles this in
// many ways against one library and compares the lines.
#include <coro/coro.hpp>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

using namespace std::chrono_literals;

template <typename T>
static void layout(const char* name) {
    std::printf("%s: %zu bytes, alignment %zu\n", name, sizeof(T), alignof(T));
}

static void layouts() {
    layout<coro::task<>>("task<void>");
    layout<coro::task<std::string>>("task<string>");
    layout<coro::detail::task_promise_value<int>>("the promise of task<int>");
    layout<coro::detail::strand>("context");
    layout<coro::detail::loop>("loop");
    layout<coro::detail::fiber_core>("fiber_core");
    layout<coro::detail::operation>("operation");
    layout<coro::cancel_scope>("cancel_scope");
    layout<coro::task_group>("task_group");
    layout<coro::group_options>("group_options");
    layout<coro::local_task_group>("local_task_group");
    layout<coro::spawn_options>("spawn_options");
    layout<coro::fiber_options>("fiber_options");
    layout<coro::run_options>("run_options");
    layout<coro::serve_options>("serve_options");
    layout<coro::loop_handle>("loop_handle");
    layout<coro::loop_stats>("loop_stats");
    layout<coro::report_event>("report_event");
    layout<coro::result<int>>("result<int>");
    layout<coro::event>("event");
    layout<coro::mutex>("mutex");
    layout<coro::semaphore>("semaphore");
    layout<coro::channel<int>>("channel<int>");
    layout<coro::io_error>("io_error");
    layout<coro::cancelled>("cancelled");
    layout<coro::interrupted>("interrupted");
    layout<coro::net::endpoint>("endpoint");
    layout<coro::net::tcp_listener>("tcp_listener");
    layout<coro::net::tcp_stream>("tcp_stream");
    layout<coro::net::listen_options>("listen_options");
    layout<coro::net::connect_options>("connect_options");
    layout<coro::net::stream_options>("stream_options");
    layout<coro::net::read_lease>("read_lease");
    layout<coro::net::buffered_stream>("buffered_stream");
    layout<coro::net::buffered_writer>("buffered_writer");
}

// ---- what it does -------------------------------------------------------------------------------

static coro::task<int> later(int value) {
    co_await coro::sleep_for(1ms);
    co_return value;
}

static coro::task<> tasks() {
    const auto [six, seven] = co_await coro::when_all(later(6), later(7));
    coro::channel<int> numbers(2);
    int sum = 0;
    co_await coro::with_task_group([&](coro::task_group& group) -> coro::task<> {
        group.spawn([](coro::channel<int>& into) -> coro::task<> {
            for (int i = 0; i < 10; ++i) co_await into.send(i);
            into.close();
        }, std::ref(numbers));
        while (const auto number = co_await numbers.receive()) sum += *number;
    });
    const int called = co_await coro::blocking([](int value) { return value + 1; }, 41);
    std::printf("tasks: %d %d %d\n", six * seven, sum, called);
}

static coro::task<> remote(coro::event& done) {
    done.set();
    co_return;
}

static coro::task<> loops() {
    coro::event done;
    co_await coro::with_task_group([&done](coro::task_group& group) -> coro::task<> {
        group.spawn({.name = "remote", .loop = 1}, remote, std::ref(done));
        co_await done.wait();
    });
    std::printf("loops: %u\n", coro::loop_count());
}

/// Echoes lines until the stream ends.
static coro::task<> echo(coro::net::tcp_stream peer) {
    coro::net::buffered_stream in(peer);
    coro::net::buffered_writer out(peer);
    while (const auto line = co_await in.read_line()) {
        co_await out.write(coro::as_bytes(*line));
        co_await out.write(coro::as_bytes("\n"));
    }
    co_await out.flush();
}

static coro::task<std::string> converse(coro::net::endpoint where) {
    auto peer = co_await coro::with_timeout(10s, coro::net::tcp_stream::connect(where));
    co_await coro::net::write_all(peer, coro::as_bytes("over the boundary\n"));
    coro::net::buffered_stream in(peer);
    const auto line = co_await in.read_line();
    co_return std::string(line.value_or("nothing"));
}

static coro::task<> streams() {
    auto listener = coro::net::tcp_listener::bind(coro::net::endpoint::loopback(0));
    const auto where = listener.local_endpoint();
    std::string answer;
    co_await coro::with_task_group([&](coro::task_group& group) -> coro::task<> {
        group.spawn(coro::serve(listener, echo));
        answer = co_await converse(where);
        group.cancel();
    });
    std::printf("streams: %s\n", answer.c_str());
}

static int summed(int upto) {
    return upto == 0 ? 0 : coro::await(later(upto)) + summed(upto - 1);
}
static std::string rethrown() {
    try {
        coro::await(coro::sleep_for(1ms));
        throw std::runtime_error("kept");
    } catch (const std::exception& error) {
        coro::await(coro::sleep_for(1ms));
        return error.what();
    }
}
static coro::task<> fibers() {
    const int sum = co_await coro::fiber(summed, 10);
    const std::string kept = co_await coro::fiber(rethrown);
    std::printf("fibers: %d %s\n", sum, kept.c_str());
}

// ---- exceptions: thrown on one side, caught on the other ---------------------------------------

template <typename Error>
static void tell(const char* what, const Error& error) {
    if constexpr (requires { error.code(); })
        std::printf("caught %s: %s %d\n", what, error.code().category().name(),
                    error.code().value());
    else std::printf("caught %s\n", what);
}

static coro::task<> exceptions() {
    const auto parsed = coro::net::endpoint::parse("nowhere");
    std::printf("an error as a value is bad_address: %d\n",
                parsed.has_value() ? -1 : parsed.error().code() == coro::errc::bad_address);
    try {
        (void)coro::net::endpoint::parse("nowhere").value();
    } catch (const coro::io_error& error) {
        tell("io_error of the library", error);
    }
    coro::net::endpoint closed;
    {
        auto listener = coro::net::tcp_listener::bind(coro::net::endpoint::loopback(0));
        closed = listener.local_endpoint();
    }
    try {
        (void)co_await coro::net::tcp_stream::connect(closed);
    } catch (const std::system_error& error) {
        tell("system_error of the kernel", error);
    }
    try {
        co_await coro::with_timeout(1ms, coro::sleep_for(1h));
    } catch (const coro::io_error& error) {
        tell("deadline_exceeded", error);
    }
    const bool finished = co_await coro::with_cancel_scope(
        [](coro::cancel_scope& scope) -> coro::task<> {
            scope.cancel();
            try {
                co_await coro::sleep_for(1h);
            } catch (const coro::cancelled& error) {
                tell("cancelled", error);
                throw;  // the library's side knows it too
            }
        });
    std::printf("the scope ended: %d\n", !finished);
}

static coro::task<> program() {
    co_await tasks();
    co_await loops();
    co_await streams();
    co_await exceptions();
}

static coro::task<> until_interrupted() {
    std::raise(SIGINT);
    co_await coro::sleep_for(1h);
}

int main(int argc, char** argv) {
    layouts();
    coro::run(program(), {.loops = 2});
    try {
        coro::run(until_interrupted());
    } catch (const coro::interrupted& error) {
        tell("interrupted", error);
    }
    try {
        throw coro::io_error(coro::errc::broken, "test", "here", 1);
    } catch (...) {
        std::printf("exit status of an error: %d\n",
                    coro::detail::report_exit(std::current_exception(), false));
    }
    if (argc < 2 || std::strcmp(argv[1], "without-fibers") != 0) coro::run(fibers());
    std::printf("end\n");
}
