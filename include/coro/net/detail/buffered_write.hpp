// How writes and flushes of a buffered_writer wait.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <system_error>

#include <coro/base/detail/assert.hpp>
#include <coro/core/task.hpp>
#include <coro/net/buffered_stream.hpp>
#include <coro/net/detail/ready_or_task.hpp>
#include <coro/net/stream.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// The buffer and its send operation. Made for a writer, and outlives it until the operation has
/// completed.
class writer_state;

struct CORO_EXPORT writer_release {
    void operator()(writer_state* state) const noexcept;
};
using writer_handle = std::unique_ptr<writer_state, writer_release>;

/// The bytes of one write: it hands over all of them, or none.
struct write_request {
    const char* verb = "write";
    const_bytes payload;
    std::size_t payload_limit = std::numeric_limits<std::size_t>::max();
    std::array<std::byte, 4> prefix{};
    std::uint32_t prefix_size = 0;

    [[nodiscard]] std::size_t size() const noexcept { return prefix_size + payload.size(); }
};

class [[nodiscard("co_await it")]] CORO_EXPORT buffered_write final
    : public ready_or_task<buffered_write> {
public:
    buffered_write(writer_state& state, const write_request& request) noexcept
        : state_(state), request_(request) {}

    bool try_now();
    void hold() const noexcept {}  // it is written already
    task<> wait();
    void finish() const noexcept {}
    [[noreturn]] void throw_cancelled() const;

private:
    writer_state& state_;
    write_request request_;
};

/// A wait in a list of the writer. `Derived` supplies try_now() and verb().
template <typename Derived>
class CORO_EXPORT writer_awaiter : public library_awaiter<Derived>, public list_node<Derived> {
public:
    bool start() noexcept;
    void finish() const;
    [[noreturn]] void throw_cancelled() const;
    void cancel_wait() noexcept override;
    void describe(text_sink& out) const noexcept override;
    /// The writer has come to it, or has failed.
    void end(std::error_code error) noexcept;

protected:
    explicit writer_awaiter(writer_state& state) noexcept : state_(state) {}
    ~writer_awaiter() = default;

    writer_state& state_;
    std::error_code error_;

private:
    const Derived& self() const noexcept { return static_cast<const Derived&>(*this); }
};

class [[nodiscard("co_await it")]] CORO_EXPORT flush_awaiter final
    : public writer_awaiter<flush_awaiter> {
public:
    explicit flush_awaiter(writer_state& state) noexcept : writer_awaiter(state) {}

    bool try_now() noexcept;
    [[nodiscard]] const char* verb() const noexcept { return "flush"; }

private:
    friend class writer_state;

    std::uint64_t position_ = 0;  ///< everything before it is to be sent
};
extern template class writer_awaiter<flush_awaiter>;

struct buffered_writer_access;

}}}  // namespace coro::v0::detail
