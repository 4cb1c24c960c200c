// Chooses and makes the world of a run: reads CORO_POLLER and CORO_URING.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>

#include <coro/runtime/poller_choice.hpp>
#include <coro/sim/simulation.hpp>

#include "runtime/poller_options.hpp"
#include "runtime/world.hpp"

namespace coro { inline namespace v0 { namespace detail {

/// What the program asks for.
struct world_wishes {
    poller_choice choice = poller_choice::automatic;  ///< CORO_POLLER overrides `automatic` only
    std::uint64_t seed = 0;
    sim::options simulation;
};

/// A world, or why there is none.
struct made_world {
    std::unique_ptr<world> instance;
    std::string reason;  ///< without an instance: a sentence with the cause and the remedy
    std::errc error{};
};

/// A bad value in the environment gives no instance, and a sentence that names the bad part.
made_world make_world(const world_wishes& wishes);

/// For tests of the layers above the waist. It wraps every poller that is made from now on, so that
/// they can meet answers that no kernel gives when asked to. nullptr, its value, wraps nothing. Set
/// while no loop runs.
extern std::unique_ptr<poller> (*wrap_poller)(std::unique_ptr<poller>);

/// Parses `sq=4,cq=8,buffers=2,mask=6.1,disable=a+b` into `options`; an empty answer is success,
/// otherwise the sentence to show.
std::string apply_uring_environment(std::string_view text, poller_options& options);

}}}  // namespace coro::v0::detail
