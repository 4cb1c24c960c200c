// The common parts of the cases of stream_conformance: a trial, bytes that tell their place, thrown
// errors.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <coro/core/as_result.hpp>
#include <coro/net/exact.hpp>
#include <coro/runtime/sleep.hpp>
#include <coro/runtime/timeout.hpp>
#include <coro/testing/stream_conformance.hpp>

namespace coro { inline namespace v0 { namespace testing {

using namespace std::chrono_literals;
using net::stream;

/// One case with one pair; it collects the sentences about broken promises.
class trial {
public:
    trial(stream a, stream b, std::string of, stream_kind kind) noexcept
        : near(std::move(a)), far(std::move(b)), can_reset(kind.can_reset), name_(std::move(of)) {}

    void expect(bool kept, std::string_view sentence) {
        if (!kept) failures.push_back(name_ + ": " + std::string(sentence));
    }

    stream near;
    stream far;
    bool can_reset;
    std::vector<std::string> failures;

private:
    std::string name_;
};

inline std::byte pattern(std::size_t at) noexcept {
    return static_cast<std::byte>((at * 31 + at / 251) & 0xff);
}
inline std::vector<std::byte> patterned(std::size_t from, std::size_t count) {
    std::vector<std::byte> bytes(count);
    for (std::size_t i = 0; i < count; ++i) bytes[i] = pattern(from + i);
    return bytes;
}
inline bool is_pattern(const_bytes bytes, std::size_t from) noexcept {
    for (std::size_t i = 0; i < bytes.size(); ++i)
        if (bytes[i] != pattern(from + i)) return false;
    return true;
}

/// Time for what is under way to arrive, and for tasks to get where they wait.
inline task<> a_moment() { co_await sleep_for(5ms); }

inline task<> write_pattern(stream& to, std::size_t from, std::size_t count) {
    const std::vector<std::byte> bytes = patterned(from, count);
    co_await net::write_all(to, bytes);
}

inline task<> write_and_end(stream& to, std::size_t count) {
    co_await write_pattern(to, 0, count);
    to.shutdown_send();
}

/// Reads until `count` bytes have come or the stream ends; how many came, 0 if not in order.
inline task<std::size_t> read_pattern(stream& from, std::size_t at, std::size_t count,
                                      std::size_t at_most = 5000) {
    std::vector<std::byte> buffer(at_most);
    std::size_t got = 0;
    bool in_order = true;
    while (got < count) {
        const std::size_t want = std::min(buffer.size(), count - got);
        const std::size_t some = co_await from.read_some(std::span(buffer).first(want));
        if (some == 0) break;
        in_order = in_order && is_pattern(std::span(buffer).first(some), at + got);
        got += some;
    }
    co_return in_order ? got : 0;
}

/// Writes until nobody takes more; how much was taken. A stream that takes as much as this without
/// a reader has no end.
inline task<std::size_t> fill(stream& to) {
    constexpr std::size_t most = std::size_t{1} << 28;
    const std::vector<std::byte> block(64 * 1024, std::byte{7});
    std::size_t taken = 0;
    while (taken < most) {
        const result<std::size_t> some =
            co_await as_result(with_timeout(20ms, to.write_some(block)));
        if (!some.has_value()) break;
        taken += *some;
    }
    co_return taken;
}

/// The io_error that the await of `make()` throws; its code is empty when it throws none.
struct failure {
    std::error_code code;
    std::string verb;
    std::string peer;
    std::size_t moved = 0;
};

template <typename Make>
task<failure> failure_of(Make make) {
    failure met;
    try {
        static_cast<void>(co_await make());
    } catch (const io_error& error) {
        met.code = error.code();
        met.verb = error.operation();
        met.peer = std::string(error.endpoint());
        met.moved = error.bytes_transferred();
    }
    co_return met;
}

/// Writes until that fails: a kernel may find room for a little more in a stream that fill() has
/// filled, and an error may come a moment later. No code: the stream swallows whatever is written.
inline task<failure> waiting_write(stream& of) {
    constexpr int writes_at_once = 100;
    constexpr int most_writes = 300;
    std::array<std::byte, 16> buffer{};
    const auto make = [&] { return of.write_some(buffer); };
    failure met;
    for (int i = 0; i < most_writes && !met.code; ++i) {
        if (i >= writes_at_once) co_await a_moment();
        met = co_await failure_of(make);
    }
    co_return met;
}

inline bool is_gone(std::error_code code) noexcept {
    return code == std::errc::broken_pipe || code == std::errc::connection_reset;
}

inline task<failure> waiting_read(stream& of) {
    std::array<std::byte, 16> buffer{};
    const auto make = [&] { return of.read_some(buffer); };
    co_return co_await failure_of(make);
}

// --- cases with a file of their own

/// Spans of more than 4 GiB in single calls.
task<> more_than_4_gib(trial& t);
/// A write_all that its deadline cuts short.
task<> write_all_cut_short(trial& t);

/// Readers, frames and writers over a stream.
task<> cancelled_buffered_reads(trial& t);
task<> cancelled_framed_reads(trial& t);
task<> cancelled_flush(trial& t);

}}}  // namespace coro::v0::testing
