// Each awaitable of the library runs once: the second await of the same object ends the program
// with a sentence, in tasks and in fibers.
// compiled alone
#include <array>
#include <functional>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <coro/core/as_result.hpp>
#include <coro/core/fiber.hpp>
#include <coro/core/when_all.hpp>
#include <coro/core/when_any.hpp>
#include <coro/core/with_cancel_scope.hpp>
#include <coro/net/local.hpp>
#include <coro/net/buffered_stream.hpp>
#include <coro/net/buffered_writer.hpp>
#include <coro/net/copy.hpp>
#include <coro/net/framed_stream.hpp>
#include <coro/net/readiness.hpp>
#include <coro/runtime/await.hpp>
#include <coro/runtime/blocking.hpp>
#include <coro/runtime/channel.hpp>
#include <coro/runtime/event.hpp>
#include <coro/runtime/mutex.hpp>
#include <coro/runtime/barrier.hpp>
#include <coro/runtime/broadcast.hpp>
#include <coro/runtime/condition_variable.hpp>
#include <coro/runtime/latch.hpp>
#include <coro/runtime/oneshot.hpp>
#include <coro/runtime/rate_limiter.hpp>
#include <coro/runtime/retry.hpp>
#include <coro/runtime/semaphore.hpp>
#include <coro/runtime/shared_mutex.hpp>
#include <coro/runtime/ticker.hpp>
#include <coro/runtime/watch.hpp>
#include <coro/runtime/signal_set.hpp>
#include <coro/runtime/stop_token.hpp>
#include <coro/runtime/task_group.hpp>
#include <coro/runtime/until_stop.hpp>
#include <coro/runtime/with_cleanup.hpp>
#include <coro/service/connection_pool.hpp>
#include <coro/service/server.hpp>
#include <coro/service/shared_connection.hpp>

#include "unit/net/stream_pair.hpp"

namespace coro::net::stream_tests {
namespace {

using namespace std::chrono_literals;

struct line_codec {
    using request = std::string;
    using reply = std::string;
    static void encode(const request& what, std::string& to) { to += what + "\n"; }
    static task<reply> read(buffered_stream& from) {
        co_return std::string(co_await from.read_until("\n"));
    }
};

/// Whatever an operation may refer to.
struct place {
    explicit place(stream_pair& of)
        : pair(of), in(of.server), out(of.server), messages(in, out) {}

    stream_pair& pair;
    tcp_listener listener = tcp_listener::bind(endpoint::loopback(0));
    local_listener local = local_listener::bind(local_address::path("coro-second-await"));
    local_stream local_end;
    buffered_stream in;
    buffered_writer out;
    framed_stream messages;
    event flag;
    mutex lock;
    semaphore places{1};
    channel<int> numbers{1};
    barrier line{2};
    broadcast<int> news{1};
    broadcast<int>::reader listener_of = news.subscribe();
    condition_variable changed;
    mutex::scoped_lock held = lock.try_lock();
    latch gate{1};
    oneshot<int> answer;
    rate_limiter limit{{.burst = 10}};
    shared_mutex doors;
    ticker ticks{1ms};
    watch<int> current{1};
    watch<int>::reader seen{current};
    std::optional<signal_set> signals;
    decltype(flag.wait()) named = flag.wait();
    task_group* group = nullptr;
    connection_pool<int>* pool = nullptr;
    shared_connection<line_codec>* shared = nullptr;
    std::array<std::byte, 4> buffer{};
    std::vector<mutable_bytes> parts{mutable_bytes(buffer)};
    std::vector<const_bytes> const_parts{const_bytes(buffer)};
};

task<> nothing() { co_return; }
task<int> connect_nowhere() { co_return 0; }
task<> nothing_with(int&) { co_return; }
task<> nothing_by(connection_pool<int>&) { co_return; }
task<> nothing_by_shared(shared_connection<line_codec>&) { co_return; }
task<stream> no_stream() { co_return stream(); }
task<> nothing_of(task_group&) { co_return; }
task<> nothing_in(cancel_scope&) { co_return; }
task<> nothing_for(tcp_stream) { co_return; }

/// Whether a named `Op` is awaited as it is; others by std::move.
template <typename Op>
inline constexpr bool awaited_by_name =
    !detail::task_type<Op> && !std::is_base_of_v<detail::bound_awaiter_tag, Op>;
template <typename Op>
using given = std::conditional_t<awaited_by_name<Op>, Op&, Op&&>;

/// How an operation is awaited twice. Functions, because each type that a fiber or a std::function
/// holds costs the compiler more than all that is tested here.
struct second_await {
    task<> (*in_a_task)(place&);
    void (*in_a_fiber)(place&);
};
using table = std::map<std::string, std::vector<second_await>>;

/// The scope is cancelled, so that each first await ends at once.
template <typename Make>
task<> twice_in_a_task(place& here) {
    auto op = Make()(here);
    for (int i = 0; i < 2; ++i) {
        try {
            static_cast<void>(co_await static_cast<given<decltype(op)>>(op));
        } catch (const cancelled&) {
        }
    }
}
template <typename Make>
void twice_in_a_fiber(place& here) {
    auto op = Make()(here);
    for (int i = 0; i < 2; ++i) {
        try {
            static_cast<void>(await(static_cast<given<decltype(op)>>(op)));
        } catch (const cancelled&) {
        }
    }
}

template <typename Make>
void add(table& to, const char* name, Make) {
    to[name].push_back({twice_in_a_task<Make>, twice_in_a_fiber<Make>});
}

/// Of operations, and of tasks.
template <typename Around>
void add_around(table& to, const char* name, Around) {
    add(to, name, [](place& here) {
        here.flag.set();
        return Around()(nothing());
    });
    add(to, name, [](place& here) {
        here.flag.set();
        return Around()(here.named);
    });
}

void add_combinators(table& to) {
    add_around(to, "as_result", [](auto&& x) { return as_result(std::forward<decltype(x)>(x)); });
    add_around(to, "when_all", [](auto&& x) { return when_all(std::forward<decltype(x)>(x)); });
    add_around(to, "when_any", [](auto&& x) { return when_any(std::forward<decltype(x)>(x)); });
    add_around(to, "with_deadline",
               [](auto&& x) { return with_deadline(never, std::forward<decltype(x)>(x)); });
    add_around(to, "with_stop_source", [](auto&& x) {
        return with_stop_source(std::stop_source(), std::forward<decltype(x)>(x));
    });
    add_around(to, "until_stop", [](auto&& x) { return until_stop(std::forward<decltype(x)>(x)); });
    add_around(to, "with_stop_token", [](auto&& x) {
        return with_stop_token(std::stop_token(), std::forward<decltype(x)>(x));
    });
    add_around(to, "with_timeout",
               [](auto&& x) { return with_timeout(1s, std::forward<decltype(x)>(x)); });
    add_around(to, "move_on_after",
               [](auto&& x) { return move_on_after(1s, std::forward<decltype(x)>(x)); });
    add_around(to, "shield", [](auto&& x) { return shield(std::forward<decltype(x)>(x), 1s); });
    add(to, "when_all", [](place&) {
        std::vector<task<>> tasks;
        tasks.push_back(nothing());
        return when_all(std::move(tasks));
    });
    add(to, "when_any", [](place&) {
        std::vector<task<>> tasks;
        tasks.push_back(nothing());
        return when_any(std::move(tasks));
    });
    add(to, "fiber", [](place&) { return fiber([] {}); });
    add(to, "with_cancel_scope", [](place&) { return with_cancel_scope(nothing_in); });
    add(to, "with_cleanup", [](place&) { return with_cleanup(nothing, nothing); });
    add(to, "with_task_group", [](place&) { return with_task_group(nothing_of); });
}

void add_waits(table& to) {
    add(to, "blocking", [](place&) { return blocking([] { return 1; }); });
    add(to, "channel::receive", [](place& here) { return here.numbers.receive(); });
    add(to, "channel::send", [](place& here) {
        const int number = 1;
        return here.numbers.send(number);
    });
    add(to, "channel::send", [](place& here) {
        static int number = 1;
        return here.numbers.send(std::move(number));
    });
    add(to, "barrier::arrive_and_wait", [](place& here) { return here.line.arrive_and_wait(); });
    add(to, "broadcast::receive", [](place& here) { return here.listener_of.receive(); });
    add(to, "condition_variable::wait", [](place& here) {
        return here.changed.wait(here.held);
    });
    add(to, "latch::wait", [](place& here) { return here.gate.wait(); });
    add(to, "latch::arrive_and_wait", [](place& here) { return here.gate.arrive_and_wait(0); });
    add(to, "oneshot::receive", [](place& here) { return here.answer.receive(); });
    add(to, "rate_limiter::take", [](place& here) { return here.limit.take(); });
    add(to, "retry", [](place&) { return retry([]() -> task<> { co_return; }); });
    add(to, "shared_mutex::lock", [](place& here) { return here.doors.lock(); });
    add(to, "shared_mutex::lock_shared", [](place& here) { return here.doors.lock_shared(); });
    add(to, "ticker::next", [](place& here) { return here.ticks.next(); });
    add(to, "watch::next", [](place& here) { return here.seen.next(); });
    add(to, "event::wait", [](place& here) { return here.flag.wait(); });
    add(to, "mutex::lock", [](place& here) { return here.lock.lock(); });
    add(to, "semaphore::acquire", [](place& here) { return here.places.acquire(); });
    add(to, "signal_set::next", [](place& here) {
        here.signals.emplace({SIGUSR2});
        return here.signals->next();
    });
    add(to, "readable", [](place&) { return readable(0); });
    add(to, "writable", [](place&) { return writable(0); });
    add(to, "sleep_for", [](place&) { return sleep_for(1s); });
    add(to, "sleep_until", [](place&) { return sleep_until(now() + 1s); });
    add(to, "yield", [](place&) { return yield(); });
}

void add_streams(table& to) {
    add(to, "net::copy", [](place& p) { return copy(p.pair.server, p.pair.client); });
    add(to, "net::proxy", [](place& p) { return proxy(p.pair.server, p.pair.client); });
    add(to, "net::read_exact", [](place& p) { return read_exact(p.pair.server, p.buffer); });
    add(to, "net::write_all", [](place& p) { return write_all(p.pair.server, p.buffer); });
    add(to, "net::buffered_stream::peek", [](place& p) { return p.in.peek(1); });
    add(to, "net::buffered_stream::read_exact", [](place& p) { return p.in.read_exact(1); });
    add(to, "net::buffered_stream::read_exact", [](place& p) { return p.in.read_exact(p.buffer); });
    add(to, "net::buffered_stream::read_line", [](place& p) { return p.in.read_line(); });
    add(to, "net::buffered_stream::read_some", [](place& p) { return p.in.read_some(p.buffer); });
    add(to, "net::buffered_stream::read_until", [](place& p) { return p.in.read_until("x"); });
    add(to, "net::buffered_writer::flush", [](place& p) { return p.out.flush(); });
    add(to, "net::buffered_writer::write", [](place& p) { return p.out.write(p.buffer); });
    add(to, "net::framed_stream::flush", [](place& p) { return p.messages.flush(); });
    add(to, "net::framed_stream::read", [](place& p) { return p.messages.read(); });
    add(to, "net::framed_stream::write", [](place& p) { return p.messages.write(p.buffer); });
    add(to, "net::local_listener::accept", [](place& p) { return p.local.accept(); });
    add(to, "net::local_listener::accept_if_waiting",
        [](place& p) { return p.local.accept_if_waiting(); });
    add(to, "net::local_stream::connect",
        [](place& p) { return local_stream::connect(p.local.local_endpoint()); });
    add(to, "net::local_stream::rebind", [](place& p) { return p.local_end.rebind(); });
    add(to, "net::stream::close_gracefully",
        [](place& p) { return p.pair.server.close_gracefully(); });
    add(to, "net::tcp_stream::connect",
        [](place& p) { return tcp_stream::connect(p.listener.local_endpoint()); });
    add(to, "net::tcp_stream::rebind", [](place& p) { return p.pair.server.rebind(); });
    add(to, "net::stream::read_leased", [](place& p) { return p.pair.server.read_leased(); });
    add(to, "net::stream::read_some",
        [](place& p) { return p.pair.server.read_some(mutable_bytes(p.buffer)); });
    add(to, "net::stream::read_some", [](place& p) {
        return p.pair.server.read_some(std::span<const mutable_bytes>(p.parts));
    });
    add(to, "net::stream::write_some",
        [](place& p) { return p.pair.server.write_some(const_bytes(p.buffer)); });
    add(to, "net::stream::write_some", [](place& p) {
        return p.pair.server.write_some(std::span<const const_bytes>(p.const_parts));
    });
    add(to, "net::tcp_listener::accept", [](place& p) { return p.listener.accept(); });
    add(to, "net::tcp_listener::accept_if_waiting",
        [](place& p) { return p.listener.accept_if_waiting(); });
    add(to, "task_group::join", [](place& p) { return p.group->join(); });
    add(to, "serve", [](place& p) { return serve(p.listener, nothing_for); });
    add(to, "connection_pool::acquire", [](place& p) { return p.pool->acquire(); });
    add(to, "connection_pool::drain", [](place& p) { return p.pool->drain(); });
    add(to, "connection_pool::with", [](place& p) { return p.pool->with(nothing_with); });
    add(to, "with_connection_pool",
        [](place&) { return with_connection_pool(connect_nowhere, {}, nothing_by); });
    add(to, "shared_connection::request", [](place& p) { return p.shared->request("request"); });
    add(to, "with_shared_connection", [](place&) {
        return with_shared_connection<line_codec>(no_stream, {}, nothing_by_shared);
    });
}

const table& all_cases() {
    static const table cases = [] {
        table made;
        add_combinators(made);
        add_waits(made);
        add_streams(made);
        return made;
    }();
    return cases;
}

std::vector<std::string> listed() {
    return {
#define CORO_OPERATION(name, category) std::string(#name).substr(6),
#include "conformance/operations.def"
#undef CORO_OPERATION
    };
}

class second_await_death_test : public testing::TestWithParam<std::string> {};

void await_twice(const second_await& which, bool in_a_fiber) {
    with_pair([&](stream_pair& pair) -> task<> {
        place here(pair);
        here.local_end = co_await local_stream::connect(here.local.local_endpoint());
        const auto cancelled_at_once = [&](cancel_scope& scope) -> task<> {
            scope.cancel();
            co_await with_task_group([&](task_group& group) -> task<> {
                here.group = &group;
                if (in_a_fiber) co_await fiber(which.in_a_fiber, std::ref(here));
                else co_await which.in_a_task(here);
            });
        };
        const auto with_shared = [&](shared_connection<line_codec>& shared) -> task<> {
            here.shared = &shared;
            static_cast<void>(co_await with_cancel_scope(cancelled_at_once));
        };
        const auto with_pool = [&](connection_pool<int>& pool) -> task<> {
            here.pool = &pool;
            co_await with_shared_connection<line_codec>(no_stream, {}, with_shared);
        };
        co_await with_connection_pool(connect_nowhere, {}, with_pool);
    });
}

TEST_P(second_await_death_test, ends_the_program_with_a_sentence) {
    const auto found = all_cases().find(GetParam());
    ASSERT_NE(found, all_cases().end()) << "this operation has no case";
    const char* const sentence = "awaited a second time: it runs once|"
                                 "had been started before: it runs once|"
                                 "that was moved from was awaited";
    for (const second_await& each : found->second) {
        EXPECT_DEATH(await_twice(each, false), sentence);
        EXPECT_DEATH(await_twice(each, true), sentence);
    }
}

std::string readable(const testing::TestParamInfo<std::string>& of) {
    std::string name = of.param;
    for (char& each : name)
        if (each == ':') each = '_';
    return name;
}
INSTANTIATE_TEST_SUITE_P(all_operations, second_await_death_test, testing::ValuesIn(listed()),
                         readable);

}  // namespace
}  // namespace coro::net::stream_tests
