// How a line of a program is named in texts: by the name of the file, without its folders.
#pragma once

#include <cstring>
#include <string_view>

namespace coro { inline namespace v0 { namespace detail {

/// `/a/b/echo.cpp` -> `echo.cpp`.
inline std::string_view base_name(const char* path) noexcept {
    const char* slash = std::strrchr(path, '/');
    return slash == nullptr ? path : slash + 1;
}

}}}  // namespace coro::v0::detail
