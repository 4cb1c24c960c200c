// Views of bytes: the two span types in which all I/O is expressed.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace coro { inline namespace v0 {

using const_bytes = std::span<const std::byte>;
using mutable_bytes = std::span<std::byte>;

/// The bytes of `text`, not copied; `text` must outlive the view.
[[nodiscard]] inline const_bytes as_bytes(std::string_view text) noexcept {
    return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

/// `bytes` read as text, not copied; `bytes` must outlive the view.
[[nodiscard]] inline std::string_view as_text(const_bytes bytes) noexcept {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}}  // namespace coro::v0
