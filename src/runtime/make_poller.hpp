// Chooses and makes the poller of a loop: reads CORO_POLLER and CORO_URING, probes, falls back.
#pragma once

#include <memory>
#include <string>
#include <system_error>

#include <coro/runtime/poller_choice.hpp>

#include "runtime/poller.hpp"
#include "runtime/poller_options.hpp"

namespace coro { inline namespace v0 { namespace detail {

/// A poller, or why there is none. `reason` says which poller runs and why, in one sentence, also
/// when all is well ("io_uring: asked for by CORO_POLLER").
struct made_poller {
    std::unique_ptr<poller> instance;
    std::string reason;
    bool fell_back = false;      ///< automatic wanted io_uring and got epoll
    bool may_fall_back = false;  ///< nobody insists on io_uring
    std::errc error{};           ///< without an instance: what the system said, or invalid_argument
    /// Without an instance, when io_uring was wanted and epoll might do: the clause that says why.
    std::string no_ring;
};

/// `strict` refuses to fall back. The environment's CORO_POLLER overrides `automatic` only.
/// A bad value in the environment gives no instance and a sentence that names the bad part.
made_poller make_poller(poller_choice choice, bool strict, poller_options options);

/// For tests of the layers above the waist: wraps every poller that is made from now on, so that
/// they can meet answers that no kernel gives when asked to. nullptr, its value, wraps nothing. Set
/// while no loop runs.
extern std::unique_ptr<poller> (*wrap_poller)(std::unique_ptr<poller>);

/// Parses `sq=4,cq=8,buffers=2,mask=6.1,disable=a+b` into `options`; an empty answer is success,
/// otherwise the sentence to show.
std::string apply_uring_environment(std::string_view text, poller_options& options);

}}}  // namespace coro::v0::detail
