// Drivers of reads and writes on connected streams, exact transfers included.
#include <algorithm>
#include <string>

#include "matrix_stream_driver.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

enum class read_how : std::uint8_t { plain, vectored, leased };

class read_driver final : public stream_driver {
public:
    explicit read_driver(read_how how) : stream_driver(false), how_(how) {}

    task<> operate() override { co_await read_once(pair_.near); }
    task<> complete() override { co_await send("eleven byte"); }
    task<> verify(const outcome& ended) override {
        if (was_reset_) {
            co_await check_after_reset();
            co_return;
        }
        if (ended.is(outcome_kind::value)) check(!received_.empty(), "a read without a byte");
        else check(received_.empty(), "bytes were taken by a read that did not happen");
        co_await send("and the rest of them");
        pair_.far.shutdown_send();
        std::size_t before = 0;
        do {
            before = received_.size();
            co_await read_once(pair_.near);
        } while (received_.size() != before);
        check(received_ == sent_, "the stream lost bytes: " + received_);
    }

private:
    task<> send(std::string_view text) {
        sent_ += text;
        co_await net::write_all(pair_.far, as_bytes(text));
    }

    task<std::size_t> read_once(net::tcp_stream& from) {
        std::size_t size = 0;
        if (how_ == read_how::plain) {
            size = co_await from.read_some(mutable_bytes(first_));
            received_ += as_text(const_bytes(first_).first(size));
        } else if (how_ == read_how::vectored) {
            const std::array<mutable_bytes, 2> slices{first_, second_};
            size = co_await from.read_some(std::span<const mutable_bytes>(slices));
            const std::size_t head = std::min(size, first_.size());
            received_ += as_text(const_bytes(first_).first(head));
            received_ += as_text(const_bytes(second_).first(size - head));
        } else {
            const net::read_lease lease = co_await from.read_leased();
            size = lease.size();
            received_ += as_text(lease.bytes());
        }
        co_return size;
    }

    read_how how_;
    std::array<std::byte, 4> first_{};
    std::array<std::byte, 100> second_{};
    std::string sent_;
    std::string received_;
};

/// The kernel may find room by itself while it moves what it has: then the write is done again.
class write_driver final : public writing_driver {
public:
    explicit write_driver(bool vectored) : vectored_(vectored) {}

    task<> prepare(ending how) override {
        co_await stream_driver::prepare(how);
        co_await fill();
    }
    task<> operate() override {
        do {
            written_ += co_await write_once();
        } while (!completed_);
    }
    task<> complete() override {
        completed_ = true;
        co_await drain();
    }
    task<> verify(const outcome&) override {
        if (was_reset_) {
            co_await check_after_reset();
            co_return;
        }
        bool more = true;
        while (read_ < written_ && more) more = co_await read_far(1h);
        completed_ = true;
        written_ += co_await write_once();
        co_await check_all_arrived();
    }

private:
    task<std::size_t> write_once() {
        const std::vector<std::byte> bytes = pattern_bytes(written_, 3000);
        if (vectored_) {
            const const_bytes all(bytes);
            const std::array<const_bytes, 2> slices{all.first(1000), all.subspan(1000)};
            co_return co_await pair_.near.write_some(std::span<const const_bytes>(slices));
        }
        co_return co_await pair_.near.write_some(const_bytes(bytes));
    }

    bool vectored_;
    bool completed_ = false;
};

class write_all_driver final : public writing_driver {
public:
    explicit write_all_driver(bool filled) : filled_(filled) {}

    task<> prepare(ending how) override {
        co_await stream_driver::prepare(how);
        if (filled_) co_await fill();
        payload_ = pattern_bytes(written_, 1 << 18);
    }
    task<> operate() override {
        co_await net::write_all(pair_.near, const_bytes(payload_));
        written_ += payload_.size();
    }
    task<> complete() override {
        co_await drain();
    }
    task<> verify(const outcome& ended) override {
        const bool whole = ended.is(outcome_kind::value);
        if (!whole) written_ += ended.bytes_transferred;
        const bool cut = !whole && ended.bytes_transferred != 0;
        check(pair_.near.is_broken() == cut, "the stream must be broken if it was cut short");
        if (cut) {
            const auto again = co_await as_result(net::write_all(pair_.near, as_bytes("again")));
            check(!again && again.error().code() == errc::broken,
                  "a write_all after one that was cut short");
        }
        if (was_reset_) co_return;
        co_await check_all_arrived();
    }

private:
    bool filled_;
    std::vector<std::byte> payload_;
};

class read_exact_driver final : public stream_driver {
public:
    explicit read_exact_driver(std::size_t come) : stream_driver(false), come_(come) {}

    task<> prepare(ending how) override {
        co_await stream_driver::prepare(how);
        if (come_ != 0) co_await send(come_);
    }
    task<> operate() override {
        co_await net::read_exact(pair_.near, mutable_bytes(into_));
        got_ = into_.size();
    }
    task<> complete() override { co_await send(into_.size() - come_); }
    task<> verify(const outcome& ended) override {
        const bool whole = ended.is(outcome_kind::value);
        if (!whole) got_ = ended.bytes_transferred;
        check(got_ <= sent_, "more came out than was sent");
        check(first_difference(into_.data(), got_, 0) == got_, "foreign bytes came out");
        const bool cut = !whole && ended.bytes_transferred != 0;
        check(pair_.near.is_broken() == cut, "the stream must be broken if it was cut short");
        if (cut) {
            const auto again =
                co_await as_result(net::read_exact(pair_.near, mutable_bytes(into_)));
            check(!again && again.error().code() == errc::broken,
                  "a read_exact after one that was cut short");
        }
        if (was_reset_) co_return;
        co_await send(5);
        pair_.far.shutdown_send();
        while (const std::size_t n = co_await pair_.near.read_some(mutable_bytes(into_))) {
            check(first_difference(into_.data(), n, got_) == n, "bytes were lost");
            got_ += n;
        }
        check(got_ == sent_, "bytes were lost at the end");
    }

private:
    task<> send(std::size_t size) {
        const std::vector<std::byte> bytes = pattern_bytes(sent_, size);
        co_await net::write_all(pair_.far, const_bytes(bytes));
        sent_ += size;
    }

    std::size_t come_;
    std::size_t sent_ = 0;
    std::size_t got_ = 0;
    std::array<std::byte, 100> into_{};
};

/// The peer must get all that was written, whatever becomes of the closing.
class close_gracefully_driver final : public stream_driver {
public:
    explicit close_gracefully_driver(bool peer_sends)
        : stream_driver(false), peer_sends_(peer_sends) {}

    task<> prepare(ending how) override {
        co_await stream_driver::prepare(how);
        co_await net::write_all(pair_.near, as_bytes("the reply"));
        if (peer_sends_) co_await net::write_all(pair_.far, as_bytes("an upload nobody reads"));
    }
    task<> operate() override { co_await pair_.near.close_gracefully(1h); }
    task<> complete() override {
        co_await read_reply();
        pair_.far.close();
    }
    task<> verify(const outcome&) override {
        check(!pair_.near, "the stream is still open");
        if (!was_reset_ && pair_.far) co_await read_reply();
    }
    [[nodiscard]] bool documented(const case_kind& kind, const outcome& ended) const override {
        return driver::documented(kind, ended);
    }

private:
    task<> read_reply() {
        std::array<std::byte, 100> into{};
        std::string reply;
        for (;;) {
            const auto n = co_await as_result(pair_.far.read_some(mutable_bytes(into)));
            if (!n || *n == 0) break;
            reply += as_text(const_bytes(into).first(*n));
        }
        check(reply == "the reply", "the peer got: " + reply);
    }

    bool peer_sends_;
};

}  // namespace

std::vector<point> stream_points() {
    constexpr std::string_view read_some = "coro::net::stream::read_some";
    constexpr std::string_view write_some = "coro::net::stream::write_some";
    constexpr std::string_view close = "coro::net::stream::close_gracefully";
    return {
        make_point<read_driver, read_how::plain>(read_some, "for data"),
        make_point<read_driver, read_how::vectored>(read_some, "for data, vectored"),
        make_point<read_driver, read_how::leased>("coro::net::stream::read_leased",
                                                  "for data"),
        make_point<write_driver, false>(write_some, "the buffer is full"),
        make_point<write_driver, true>(write_some, "the buffer is full, vectored"),
        make_point<write_all_driver, true>("coro::net::write_all", "before the first byte"),
        make_point<write_all_driver, false>("coro::net::write_all", "after a part"),
        make_point<read_exact_driver, std::size_t{0}>("coro::net::read_exact",
                                                      "before the first byte"),
        make_point<read_exact_driver, std::size_t{7}>("coro::net::read_exact", "after a part"),
        make_point<close_gracefully_driver, false>(close, "for the peer's end"),
        make_point<close_gracefully_driver, true>(close, "the peer is still sending"),
    };
}

}}}  // namespace coro::v0::detail::conformance
