// A poller with a world of its own, for tests that run no loops of a team.
#pragma once

#include <memory>
#include <utility>

#include "runtime/make_poller.hpp"
#include "runtime/world.hpp"
#include "sim/sim_poller.hpp"
#include "sim/sim_world.hpp"

namespace coro { inline namespace v0 { namespace detail {

struct world_of_one {
    std::unique_ptr<world> all;
};
/// The poller goes before its world.
struct made_alone : world_of_one, made_poller {};

inline made_alone make_alone(poller_choice choice, bool strict, const poller_options& options,
                             std::uint64_t seed = 0) {
    made_alone made;
    made_world all = make_world({.choice = choice, .seed = seed, .simulation = {}});
    made.all = std::move(all.instance);
    static_cast<made_poller&>(made).reason = std::move(all.reason);
    made.error = all.error;
    if (made.all == nullptr) return made;
    static_cast<made_poller&>(made) =
        made.all->make_poller(0, {.strict = strict, .epoll_only = false, .options = options});
    return made;
}

struct simulation_of_one {
    sim_world all{0, {}, "simulation"};
};
class lone_sim_poller final : private simulation_of_one, public sim_poller {
public:
    lone_sim_poller() : sim_poller(all, {}) {}
};

}}}  // namespace coro::v0::detail
