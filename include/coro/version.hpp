// The version of these headers. The inline namespace v0 equals the SOVERSION of the library.
#pragma once

namespace coro { inline namespace v0 {

inline constexpr int version_major = 0;
inline constexpr int version_minor = 1;
inline constexpr int version_patch = 0;

}}  // namespace coro::v0
