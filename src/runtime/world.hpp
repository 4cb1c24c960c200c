// What all loops of one run share: clock, chance, threads, and the network or the kernel. A run has
// one world, and each of its loops has a poller that the world made.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>

#include <coro/base/time.hpp>

#include "runtime/poller.hpp"
#include "runtime/poller_options.hpp"
#include "runtime/thread.hpp"

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

/// What the loops of a run have agreed on for their pollers.
struct poller_terms {
    bool strict = false;      ///< this loop must not fall back from io_uring
    bool epoll_only = false;  ///< all loops have fallen back
    poller_options options;
};

/// The threads of all loops ask a world over a kernel, at once; it has no state that changes. A
/// virtual world is asked by the one thread that turns its loops.
class world {
public:
    world(const world&) = delete;
    world& operator=(const world&) = delete;
    /// Requires: its pollers are gone, and so is what they detached.
    virtual ~world() = default;

    /// Time is virtual: it stands still while a loop has work, and jumps to what comes next when no
    /// loop has. All loops turn on the thread that called run(), and there is no other thread.
    [[nodiscard]] bool is_virtual() const noexcept { return virtual_; }
    /// Whether a seed decides what is left open: choose() is not always 0 then.
    [[nodiscard]] bool is_seeded() const noexcept { return seeded_; }

    [[nodiscard]] virtual time_point now() noexcept = 0;
    /// Fills `into` with random bytes: getrandom(2), or the seed of a simulation.
    virtual void random(void* into, std::size_t size) noexcept = 0;
    /// Which of `among` things that are equally due comes first; 0, the oldest, unless a seed
    /// decides. Requires: among > 0.
    [[nodiscard]] virtual std::size_t choose(std::size_t among) noexcept = 0;
    /// As thread::start(). Throws: std::system_error (resource_unavailable_try_again); always in a
    /// virtual world.
    virtual thread start_thread(const char* name, std::function<void()> body) = 0;

    /// The poller of loop `index`, to be called on the thread that is to turn it.
    made_poller make_poller(unsigned index, const poller_terms& terms);

    /// What only a virtual world can know: the last wait() of one of its pollers found that nothing
    /// can ever happen again. Then it returned, if whoever waits looks here; otherwise it aborted.
    bool stuck = false;
    bool stuck_is_looked_at = false;

protected:
    world(bool is_virtual, bool seeded) noexcept : virtual_(is_virtual), seeded_(seeded) {}

private:
    virtual made_poller new_poller(unsigned index, const poller_terms& terms) = 0;

    const bool virtual_;
    const bool seeded_;
};

}}}  // namespace coro::v0::detail
