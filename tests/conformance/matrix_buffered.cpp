// Drivers of buffered reads, buffered writes and frames.
#include <algorithm>
#include <optional>
#include <string>

#include <coro/net/buffered_stream.hpp>
#include <coro/net/buffered_writer.hpp>
#include <coro/net/framed_stream.hpp>

#include "matrix_stream_driver.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

using reader = net::buffered_stream;

enum class read_what : std::uint8_t { some, fill, view, until, line, peek, frame };

/// The message that a read of this kind takes.
std::string_view message_of(read_what what) {
    using namespace std::string_view_literals;
    switch (what) {
        case read_what::line: return "abcdefg\n";
        case read_what::until: return "abcde--;";
        case read_what::frame: return "\0\0\0\4wxyz"sv;
        default: return "12345678";
    }
}

/// Waits for a message of which nothing, or a part, has come.
class buffered_read_driver final : public stream_driver {
public:
    buffered_read_driver(read_what what, std::size_t come)
        : stream_driver(false), what_(what), come_(come) {}

    task<> prepare(ending how) override {
        co_await stream_driver::prepare(how);
        in_.emplace(pair_.near);
        out_.emplace(pair_.near);
        frames_.emplace(*in_, *out_);
        if (come_ != 0) co_await send(message_of(what_).substr(0, come_));
    }
    task<> operate() override { taken_ = co_await read_message(); }
    task<> complete() override { co_await send(message_of(what_).substr(come_)); }
    task<> verify(const outcome& ended) override {
        if (!ended.is(outcome_kind::value)) check(taken_.empty(), "a part was taken");
        if (was_reset_) co_return;
        co_await send("the rest");
        pair_.far.shutdown_send();
        std::array<std::byte, 3> into{};
        while (const std::size_t n = co_await in_->read_some(mutable_bytes(into)))
            taken_ += as_text(const_bytes(into).first(n));
        check(taken_ == sent_, "bytes were lost or doubled: " + taken_);
        check(in_->buffered() == 0, "the buffer is not empty at the end");
    }

private:
    task<> send(std::string_view text) {
        sent_ += text;
        co_await net::write_all(pair_.far, as_bytes(text));
    }

    /// What the read took from the stream, delimiters included.
    task<std::string> read_message() {
        std::string all;
        std::array<std::byte, 8> into{};
        switch (what_) {
            case read_what::some: {
                const std::size_t n = co_await in_->read_some(mutable_bytes(into));
                all = as_text(const_bytes(into).first(n));
                break;
            }
            case read_what::fill:
                co_await in_->read_exact(mutable_bytes(into));
                all = as_text(const_bytes(into));
                break;
            case read_what::view: {
                const const_bytes view = co_await in_->read_exact(into.size());
                all = as_text(view);
                break;
            }
            case read_what::until: all = co_await in_->read_until("--;"); break;
            case read_what::line: {
                const auto line = co_await in_->read_line();
                if (line) all = std::string(*line) + "\n";
                break;
            }
            case read_what::peek: {
                const const_bytes seen = co_await in_->peek(into.size());
                check(as_text(seen) == message_of(what_), "peek saw something else");
                break;
            }
            case read_what::frame: {
                const auto payload = co_await frames_->read();
                if (!payload) break;
                all = message_of(what_).substr(0, 4);
                all += as_text(*payload);
                break;
            }
        }
        co_return all;
    }

    read_what what_;
    std::size_t come_;
    std::optional<reader> in_;
    std::optional<net::buffered_writer> out_;
    std::optional<net::framed_stream> frames_;
    std::string sent_;
    std::string taken_;
};

enum class write_what : std::uint8_t { small, large, flush, frame, frame_flush };

/// The kernel takes nothing more, and the writer's buffer is almost full.
class buffered_write_driver final : public writing_driver {
public:
    explicit buffered_write_driver(write_what what) : what_(what) {}

    task<> prepare(ending how) override {
        co_await stream_driver::prepare(how);
        in_.emplace(pair_.near);
        out_.emplace(pair_.near, net::buffered_writer_options{.limit = limit});
        frames_.emplace(*in_, *out_);
        if (what_ == write_what::large) co_return;
        co_await fill();
        const std::vector<std::byte> bytes = pattern_bytes(written_, limit - 100);
        co_await out_->write(const_bytes(bytes));
        written_ += bytes.size();
    }
    task<> operate() override {
        const std::vector<std::byte> bytes =
            pattern_bytes(written_, what_ == write_what::large ? 64 * limit : small);
        switch (what_) {
            case write_what::small:
            case write_what::large:
                co_await out_->write(const_bytes(bytes));
                written_ += bytes.size();
                break;
            case write_what::frame:
                co_await frames_->write(const_bytes(bytes));
                framed_ = true;
                break;
            case write_what::flush: co_await out_->flush(); break;
            case write_what::frame_flush: co_await frames_->flush(); break;
        }
        if (what_ == write_what::flush || what_ == write_what::frame_flush)
            check(out_->unsent() == 0, "flush ended before everything was sent");
    }
    task<> complete() override {
        co_await drain();
    }
    task<> verify(const outcome& ended) override {
        std::string after;  // what follows the pattern
        if (what_ == write_what::large && !ended.is(outcome_kind::value)) {
            written_ += ended.bytes_transferred;
            const auto again = co_await as_result(out_->write(as_bytes("again")));
            if (again) after = "again";
            check(!again || ended.bytes_transferred == 0, "a write after a part");
            if (ended.is(outcome_kind::cancelled) && ended.bytes_transferred != 0)
                check(!again && again.error().code() == errc::broken, "another error than broken");
        }
        if (was_reset_) co_return;
        if (framed_) {
            after = std::string("\0\0\1\xf4", 4);
            after += as_text(pattern_bytes(written_, small));
        }
        bool more = true;
        while (gathered_.size() < written_ + after.size() && more) more = co_await read_far(1h);
        check(out_->unsent() == 0, "bytes stay unsent");
        pair_.near.close();
        more = true;
        while (more) more = co_await read_far(1h);
        std::string expected(as_text(pattern_bytes(0, written_)));
        expected += after;
        check(gathered_ == expected, std::to_string(expected.size()) + " bytes went in, " +
                                         std::to_string(gathered_.size()) + " came out");
    }

private:
    static constexpr std::size_t limit = 4096;
    static constexpr std::size_t small = 500;

    task<bool> read_far(duration within) override {
        std::array<std::byte, 4096> into{};
        const auto n = co_await move_on_after(within, pair_.far.read_some(mutable_bytes(into)));
        if (!n || *n == 0) co_return false;
        gathered_ += as_text(const_bytes(into).first(*n));
        co_return true;
    }

    write_what what_;
    std::optional<reader> in_;
    std::optional<net::buffered_writer> out_;
    std::optional<net::framed_stream> frames_;
    bool framed_ = false;  ///< a frame follows the pattern
    std::string gathered_;
};

}  // namespace

std::vector<point> buffered_points() {
    std::vector<point> points;
    const auto reads = [&points]<read_what What, std::size_t Come>(std::string_view operation,
                                                                  std::string_view where) {
        points.push_back(make_point<buffered_read_driver, What, Come>(operation, where));
    };
    using enum read_what;
    reads.operator()<some, 0>("coro::net::buffered_stream::read_some", "for data");
    reads.operator()<fill, 0>("coro::net::buffered_stream::read_exact", "for the first byte");
    reads.operator()<fill, 3>("coro::net::buffered_stream::read_exact", "after a part");
    reads.operator()<view, 3>("coro::net::buffered_stream::read_exact", "a view, after a part");
    reads.operator()<until, 6>("coro::net::buffered_stream::read_until", "in the delimiter");
    reads.operator()<line, 3>("coro::net::buffered_stream::read_line", "after a part");
    reads.operator()<peek, 3>("coro::net::buffered_stream::peek", "after a part");
    reads.operator()<frame, 0>("coro::net::framed_stream::read", "between two frames");
    reads.operator()<frame, 2>("coro::net::framed_stream::read", "inside of the length");
    reads.operator()<frame, 6>("coro::net::framed_stream::read", "inside of the payload");
    const auto writes = [&points]<write_what What>(std::string_view operation,
                                                  std::string_view where) {
        points.push_back(make_point<buffered_write_driver, What>(operation, where));
    };
    constexpr std::string_view write = "coro::net::buffered_writer::write";
    writes.operator()<write_what::small>(write, "for room");
    writes.operator()<write_what::large>(write, "a large one, after a part");
    writes.operator()<write_what::flush>("coro::net::buffered_writer::flush", "the kernel is full");
    writes.operator()<write_what::frame>("coro::net::framed_stream::write", "for room");
    writes.operator()<write_what::frame_flush>("coro::net::framed_stream::flush",
                                               "the kernel is full");
    return points;
}

}}}  // namespace coro::v0::detail::conformance
