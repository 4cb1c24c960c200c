// How a frame is looked for in what has been read.
#pragma once

#include <cstddef>
#include <optional>

#include <coro/base/detail/assert.hpp>
#include <coro/net/buffered_stream.hpp>
#include <coro/net/buffered_writer.hpp>
#include <coro/net/connection.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// Bytes in front of each frame: the payload's length, the most significant byte first.
inline constexpr std::size_t frame_prefix = 4;

class CORO_EXPORT frame_request {
public:
    static constexpr const char* verb = "read frame";
    explicit frame_request(std::size_t limit) noexcept : limit_(limit) {}

    bool look(const read_buffer& buffer);
    [[nodiscard]] std::size_t bound(const read_buffer& buffer) const noexcept {
        return buffer.limit() < needed_ ? needed_ : buffer.limit();
    }
    [[nodiscard]] mutable_bytes direct(read_buffer& buffer) const {
        return counted_request::direct(buffer, needed_);
    }
    static void arrived(read_buffer& buffer, std::size_t count) noexcept { buffer.arrived(count); }
    [[nodiscard]] std::optional<const_bytes> take(read_buffer& buffer) const;

private:
    std::size_t limit_;
    std::size_t needed_ = frame_prefix;
};

[[nodiscard]] CORO_EXPORT write_request frame_to_write(const_bytes payload,
                                                       std::size_t limit) noexcept;

}}}  // namespace coro::v0::detail
