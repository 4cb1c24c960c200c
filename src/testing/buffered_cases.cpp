// Cases of readers, writers and frames over a stream, whose awaits are cancelled at any moment.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <coro/core/when_all.hpp>
#include <coro/net/buffered_stream.hpp>
#include <coro/net/buffered_writer.hpp>
#include <coro/net/connection.hpp>
#include <coro/net/framed_stream.hpp>

#include "testing/trial.hpp"

namespace coro { inline namespace v0 { namespace testing {
namespace {

using bytes_in_time = std::optional<std::vector<std::byte>>;

constexpr std::size_t cancel_rounds = 100;
constexpr std::size_t most_cancels = 20'000;

/// Waits between sends, and limits of reads, that meet in ever other ways.
std::chrono::microseconds pause_after(std::size_t round) {
    return std::chrono::microseconds(20 + round % 7 * 30);
}
std::chrono::microseconds limit_of(std::size_t attempt) {
    return std::chrono::microseconds(attempt % 11 * 15);
}

std::vector<std::byte> copy_of(const_bytes bytes) { return {bytes.begin(), bytes.end()}; }

/// Nothing when the deadline was first.
task<bytes_in_time> record_in_time(net::buffered_stream& in, std::size_t size,
                                   std::chrono::microseconds limit) {
    try {
        const const_bytes record = co_await with_timeout(limit, in.read_exact(size));
        co_return copy_of(record);
    } catch (const io_error& error) {
        if (error != errc::deadline_exceeded) throw;
    }
    co_return std::nullopt;
}
task<bytes_in_time> frame_in_time(net::framed_stream& in, std::chrono::microseconds limit) {
    try {
        const auto frame = co_await with_timeout(limit, in.read());
        if (frame.has_value()) co_return copy_of(*frame);
        co_return std::vector<std::byte>();
    } catch (const io_error& error) {
        if (error != errc::deadline_exceeded) throw;
    }
    co_return std::nullopt;
}

/// Of each round another size, never 0.
std::size_t frame_size(std::size_t round) { return 1 + round * 13 % 200; }

task<> discard(stream& from, std::size_t count) {
    std::vector<std::byte> buffer(64 * 1024);
    while (count != 0) {
        const std::size_t want = std::min(count, buffer.size());
        const std::size_t some = co_await from.read_some(std::span(buffer).first(want));
        if (some == 0) break;
        count -= some;
    }
}

}  // namespace

task<> cancelled_buffered_reads(trial& t) {
    constexpr std::size_t each = 37;
    const auto sender = [](trial& of) -> task<> {
        for (std::size_t i = 0; i < cancel_rounds; ++i) {
            co_await write_pattern(of.far, i * each, each);
            co_await sleep_for(pause_after(i));
        }
    };
    const auto reader = [](trial& of) -> task<> {
        net::buffered_stream in(of.near);
        std::size_t got = 0;
        for (std::size_t i = 0; i < most_cancels && got < cancel_rounds; ++i) {
            const bytes_in_time came = co_await record_in_time(in, each, limit_of(i));
            if (!came.has_value()) continue;
            if (!is_pattern(*came, got * each)) break;
            ++got;
        }
        of.expect(got == cancel_rounds, "a buffered read that was cancelled has lost bytes");
    };
    co_await when_all(sender(t), reader(t));
}

task<> cancelled_framed_reads(trial& t) {
    const auto sender = [](trial& of) -> task<> {
        net::framed_stream out{net::connection(std::move(of.far))};
        for (std::size_t i = 0; i < cancel_rounds; ++i) {
            const std::vector<std::byte> message = patterned(i, frame_size(i));
            co_await out.write(message);
            co_await out.flush();
            co_await sleep_for(pause_after(i));
        }
        co_await a_moment();
    };
    const auto reader = [](trial& of) -> task<> {
        net::framed_stream in{net::connection(std::move(of.near))};
        std::size_t got = 0;
        for (std::size_t i = 0; i < most_cancels && got < cancel_rounds; ++i) {
            const bytes_in_time came = co_await frame_in_time(in, limit_of(i));
            if (!came.has_value()) continue;
            if (came->size() != frame_size(got) || !is_pattern(*came, got)) break;
            ++got;
        }
        of.expect(got == cancel_rounds, "a framed read that was cancelled has lost bytes");
    };
    co_await when_all(sender(t), reader(t));
}

/// What was written stays in the writer, and the next flush sends it.
task<> cancelled_flush(trial& t) {
    constexpr std::size_t size = 300'000;
    constexpr int most_flushes = 50;
    const std::size_t filled = co_await fill(t.near);
    net::buffered_writer out(t.near, {.limit = size + 1});
    const auto flush = [&]() -> task<> { co_await out.flush(); };
    const auto in_time = [&]() { return with_timeout(20ms, flush()); };
    failure cut;
    std::size_t written = 0;
    // A kernel may give the connection more room after a while, so one flush may still be sent.
    for (int i = 0; i < most_flushes && !cut.code; ++i) {
        const std::vector<std::byte> bytes = patterned(written, size);
        co_await out.write(bytes);
        written += size;
        cut = co_await failure_of(in_time);
    }
    t.expect(cut.code == errc::deadline_exceeded, "a flush that nobody reads did not wait");
    t.expect(cut.peer == t.near.describe(),
             "the error of a deadline that ended a flush does not name describe()");
    const auto drain = [](trial& of, std::size_t before, std::size_t sent) -> task<> {
        co_await discard(of.far, before);
        const std::size_t got = co_await read_pattern(of.far, 0, sent);
        of.expect(got == sent, "a flush that was cancelled has lost bytes, or sent some twice");
    };
    co_await when_all(flush(), drain(t, filled, written));
    t.expect(out.unsent() == 0, "a flush has ended before all was sent");
}

}}}  // namespace coro::v0::testing
