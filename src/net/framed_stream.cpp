// The length in front of a frame, both ways.
#include <coro/net/framed_stream.hpp>

#include <algorithm>

namespace coro { inline namespace v0 { namespace detail {

bool frame_request::look(const read_buffer& buffer) {
    if (buffer.size() >= frame_prefix) {
        std::size_t length = 0;
        for (std::size_t i = 0; i < frame_prefix; ++i)
            length = length << 8 | std::to_integer<std::size_t>(buffer.at(i));
        if (length > limit_) buffer.fail(errc::limit_exceeded, verb);
        needed_ = frame_prefix + length;
        if (buffer.size() >= needed_) return true;
    }
    if (!buffer.ended()) return false;
    if (buffer.size() != 0) buffer.fail(errc::end_of_stream, verb, buffer.size());
    return true;
}

std::optional<const_bytes> frame_request::take(read_buffer& buffer) const {
    if (buffer.size() == 0) return std::nullopt;
    return buffer.take(needed_).subspan(frame_prefix);
}

write_request frame_to_write(const_bytes payload, std::size_t limit) noexcept {
    write_request request{.verb = "write frame", .payload = payload, .payload_limit = limit};
    const std::size_t length = std::min(payload.size(), limit);  // a longer one is refused
    for (std::size_t i = 0; i < frame_prefix; ++i)
        request.prefix[i] = static_cast<std::byte>(length >> 8 * (frame_prefix - 1 - i) & 0xff);
    request.prefix_size = frame_prefix;
    return request;
}

}}}  // namespace coro::v0::detail
