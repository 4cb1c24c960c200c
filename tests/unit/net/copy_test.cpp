// copy in virtual time: cancelled at any moment, it loses nothing without saying so.
#include <coro/net/copy.hpp>

#include <cstdint>
#include <functional>
#include <string>

#include <coro/core/cancel_scope.hpp>
#include <coro/net/memory_stream.hpp>
#include <coro/runtime/task_group.hpp>
#include <coro/runtime/timeout.hpp>

#include "unit/net/stream_pair.hpp"

namespace coro::net::stream_tests {
namespace {

using namespace std::chrono_literals;

std::string numbered(std::size_t size) {
    std::string text(size, '\0');
    for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>('a' + (i * 7 + i / 23) % 26);
    return text;
}

/// Small ones, and some that are larger than a lease.
struct amounts {
    std::size_t text;
    std::size_t piece;
    std::size_t source_buffer;
};

/// Writes with pauses; whoever reads may go.
task<> write_slowly(stream& to, const std::string& text, std::size_t most, std::uint64_t seed) {
    random_source random(seed);
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t piece = std::min<std::size_t>(1 + random.below(most), text.size() - at);
        co_await write_all(to, as_bytes(text).subspan(at, piece));
        at += piece;
        co_await sleep_for(std::chrono::microseconds(random.below(300)));
    }
    to.shutdown_send();
}
task<> read_slowly(stream& from, std::string& into, std::uint64_t seed) {
    random_source random(seed);
    for (;;) {
        const read_lease lease = co_await from.read_leased(1 + random.below(5000));
        if (lease.empty()) co_return;
        into += as_text(lease.bytes());
        co_await sleep_for(std::chrono::microseconds(random.below(400)));
    }
}

/// One copy that is cancelled after a while, and a second one that goes on where that may be.
task<bool> copy_in_two(amounts of, std::uint64_t seed) {
    const std::string text = numbered(of.text);
    const copy_options how{.ends_at_stop = seed % 2 == 0};
    std::string arrived;
    stream_pair source = co_await connected_pair(of.source_buffer);
    stream_pair sink = co_await connected_pair(4096);
    bool broken = false;
    const auto body = [&](task_group& group) -> task<> {
        group.spawn(write_slowly, std::ref(source.client), std::cref(text), of.piece, seed);
        group.spawn(read_slowly, std::ref(sink.client), std::ref(arrived), seed + 1);
        random_source random(seed + 2);
        const auto moved =
            co_await move_on_after(std::chrono::microseconds(random.below(of.text / 4)),
                                   copy(source.server, sink.server, how));
        broken = sink.server.is_broken();
        EXPECT_FALSE(moved.has_value() && broken);
        if (broken) {
            sink.server.close();
            co_await move_on_after(1s, group.join());
            group.cancel();
            co_return;
        }
        co_await copy(source.server, sink.server, how);
        sink.server.shutdown_send();
    };
    co_await with_task_group(body);
    EXPECT_EQ(arrived, text.substr(0, arrived.size()));
    EXPECT_EQ(arrived.size() == text.size(), !broken);
    co_return broken;
}

TEST(stream_copy, cancelled_at_any_moment_loses_nothing_without_saying_so) {
    for (const amounts& of : {amounts{40'000, 3'000, 4'096}, amounts{400'000, 60'000, 200'000}}) {
        unsigned broken = 0;
        constexpr unsigned seeds = 60;
        for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
            run_options how;
            how.poller = poller_choice::simulation;
            how.seed = seed;
            if (run(copy_in_two(of, seed), how)) ++broken;
        }
        EXPECT_GT(broken, 0u) << of.text;
        EXPECT_LT(broken, seeds) << of.text;
    }
}

}  // namespace
}  // namespace coro::net::stream_tests
