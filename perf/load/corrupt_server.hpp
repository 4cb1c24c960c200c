// An echo server that cheats: the canary that shows coro_load's verification can fail.
#pragma once

#include "load/options.hpp"

#include <cstdint>

namespace load {

/// Echoes honestly for 1000 receives, then commits one fault of the given kind (`none`: never).
[[noreturn]] void serve_corrupt(std::uint16_t port, corruption kind);

}  // namespace load
