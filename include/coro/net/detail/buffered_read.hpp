// How reads of a buffered_stream wait.
#pragma once

#include <cerrno>
#include <cstddef>
#include <optional>
#include <utility>

#include <coro/core/task.hpp>
#include <coro/net/detail/read_buffer.hpp>
#include <coro/net/detail/ready_or_task.hpp>
#include <coro/net/exact.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// Takes from the buffer if it can, else reads from the buffer's source until it can.
template <typename Request>
class [[nodiscard("co_await it")]] buffered_read final
    : public ready_or_task<buffered_read<Request>> {
public:
    buffered_read(read_buffer& buffer, Request request) noexcept
        : buffer_(buffer), request_(request) {}

    bool try_now() {
        buffer_.begin(Request::verb);
        return request_.look(buffer_);
    }
    void hold() noexcept { held_.emplace(buffer_); }
    task<> wait() {
        const read_buffer::reading guard(buffer_);
        do {
            const mutable_bytes direct = request_.direct(buffer_);
            if (direct.empty()) {
                const std::size_t room = buffer_.prepare(request_.bound(buffer_));
                lease_awaiter next(buffer_.source(), room);
                net::read_lease lease = co_await next;
                buffer_.arrived(std::move(lease));
            } else {
                read_awaiter next(buffer_.source(), direct);
                const std::size_t count = co_await next;
                request_.arrived(buffer_, count);
            }
        } while (!request_.look(buffer_));
    }
    auto finish() {
        held_.reset();
        return request_.take(buffer_);
    }
    [[noreturn]] void throw_cancelled() const {
        throw_io(-ECANCELED, Request::verb, buffer_.source());
    }

private:
    read_buffer& buffer_;
    Request request_;
    std::optional<read_buffer::reading> held_;
};

struct buffered_stream_access;

}}}  // namespace coro::v0::detail
