// A connection in memory: two pipes, each with a ring of bytes and those who wait at its ends.
#include <coro/net/memory_stream.hpp>

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include <coro/base/detail/assert.hpp>
#include <coro/base/error.hpp>
#include <coro/net/transport.hpp>

namespace coro { inline namespace v0 { namespace net {
namespace {

/// One direction. A task that waits at an end is served as soon as the other end allows it.
class pipe {
public:
    explicit pipe(const memory_options& options)
        : ring_(new std::byte[options.capacity]),
          capacity_(options.capacity),
          chunk_(options.chunk) {}

    void submit(transfer what) noexcept {
        (what.sends() ? writer_ : reader_) = what;
        pump();
    }
    void cancel(transfer what) noexcept {
        if (what == writer_) writer_ = {};
        if (what == reader_) reader_ = {};
        what.withdraw();
    }
    /// The sender has ended it: what it holds is read, and then comes the end of the stream.
    void end_sending() noexcept {
        ended_ = true;
        pump();
    }
    /// The reader has gone.
    void end_reading() noexcept {
        unread_ = true;
        size_ = 0;
        pump();
    }
    void reset() noexcept {
        reset_ = true;
        size_ = 0;
        pump();
    }
    [[nodiscard]] std::uint64_t moved() const noexcept { return moved_; }
    [[nodiscard]] bool has_input() const noexcept { return size_ != 0 || ended_ || reset_; }

private:
    void pump() noexcept {
        while (serve_writer() || serve_reader()) {}
    }

    bool serve_writer() noexcept {
        if (!writer_) return false;
        if (reset_) std::exchange(writer_, {}).fail(code_of(std::errc::connection_reset));
        else if (ended_ || unread_)
            std::exchange(writer_, {}).fail(code_of(std::errc::broken_pipe));
        else if (size_ == capacity_) return false;
        else {
            const std::size_t room = std::min(capacity_ - size_, chunk_);
            const std::size_t end = (begin_ + size_) % capacity_;
            const std::size_t first = std::min(room, capacity_ - end);
            size_ += writer_.take({ring_.get() + end, first});
            if (room > first && writer_.moved() == first)
                size_ += writer_.take({ring_.get(), room - first});
            moved_ += writer_.moved();
            std::exchange(writer_, {}).complete();
        }
        return true;
    }

    bool serve_reader() noexcept {
        if (!reader_) return false;
        if (reset_) {
            std::exchange(reader_, {}).fail(code_of(std::errc::connection_reset));
        } else if (size_ != 0) {
            const std::size_t most = std::min(size_, chunk_);
            const std::size_t first = std::min(most, capacity_ - begin_);
            std::size_t count = reader_.put({ring_.get() + begin_, first});
            if (count == first) count += reader_.put({ring_.get(), most - first});
            begin_ = (begin_ + count) % capacity_;
            size_ -= count;
            std::exchange(reader_, {}).complete();
        } else if (ended_) {
            std::exchange(reader_, {}).complete();
        } else {
            return false;
        }
        return true;
    }

    static std::error_code code_of(std::errc what) noexcept { return std::make_error_code(what); }

    std::unique_ptr<std::byte[]> ring_;
    std::size_t capacity_;
    std::size_t chunk_;
    std::size_t begin_ = 0;
    std::size_t size_ = 0;
    std::uint64_t moved_ = 0;
    transfer reader_;
    transfer writer_;
    bool ended_ = false;
    bool unread_ = false;
    bool reset_ = false;
};

struct both_ways {
    explicit both_ways(const memory_options& options) : pipes{pipe(options), pipe(options)} {}
    std::array<pipe, 2> pipes;
};

class memory_end final : public transport {
public:
    memory_end(std::shared_ptr<both_ways> of, unsigned side) noexcept
        : all_(std::move(of)), out_(all_->pipes[side]), in_(all_->pipes[1 - side]) {}

    void submit(transfer what) noexcept override { (what.sends() ? out_ : in_).submit(what); }
    void cancel(transfer what) noexcept override { (what.sends() ? out_ : in_).cancel(what); }
    void shutdown_send() override { out_.end_sending(); }
    void close() noexcept override {
        out_.end_sending();
        in_.end_reading();
    }
    void abort() noexcept override {
        out_.reset();
        in_.reset();
    }
    std::uint64_t activity() const noexcept override { return out_.moved() + in_.moved(); }
    bool has_input() const noexcept override { return in_.has_input(); }
    std::string_view describe() const noexcept override { return "memory"; }

private:
    std::shared_ptr<both_ways> all_;
    pipe& out_;
    pipe& in_;
};

}  // namespace

memory_stream::memory_stream(std::unique_ptr<transport> of) : stream(std::move(of)) {}

std::pair<memory_stream, memory_stream> memory_stream::pair(const memory_options& options) {
    CORO_ASSERT(options.capacity != 0 && options.chunk != 0,
                "a memory_stream with a capacity or a chunk of 0 bytes can carry nothing");
    const auto all = std::make_shared<both_ways>(options);
    memory_stream one(std::make_unique<memory_end>(all, 0u));
    memory_stream other(std::make_unique<memory_end>(all, 1u));
    return {std::move(one), std::move(other)};
}

}}}  // namespace coro::v0::net
