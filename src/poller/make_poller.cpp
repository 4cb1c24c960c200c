// The only file that reads the environment. The choice is made at run time, so that one binary can
// be tested in all worlds and starts on hosts where io_uring is forbidden.
#include "runtime/make_poller.hpp"

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <span>
#include <system_error>
#include <utility>

#include "poller/epoll_poller.hpp"
#include "poller/kernel_world.hpp"
#include "poller/uring_options.hpp"
#include "poller/uring_poller.hpp"
#include "sim/sim_world.hpp"

namespace coro { inline namespace v0 { namespace detail {
namespace {

struct kernel_version {
    unsigned major = 0;
    unsigned minor = 0;
    friend auto operator<=>(const kernel_version&, const kernel_version&) = default;
};

struct feature_name {
    std::string_view name;
    uring_feature bit;
    kernel_version since;
};

constexpr std::array feature_names{
    feature_name{"single_issuer", uring_single_issuer, {6, 0}},
    feature_name{"defer_taskrun", uring_defer_taskrun, {6, 1}},
    feature_name{"coop_taskrun", uring_coop_taskrun, {5, 19}},
    feature_name{"submit_all", uring_submit_all, {5, 18}},
    feature_name{"buffer_ring", uring_buffer_ring, {5, 19}},
    feature_name{"registered_ring", uring_registered_ring, {5, 18}},
    feature_name{"no_iowait", uring_no_iowait, {6, 15}},
    feature_name{"no_sqarray", uring_no_sqarray, {6, 6}},
    feature_name{"wait_argument", uring_wait_argument, {5, 11}},
};

constexpr kernel_version oldest_mask{5, 1};    ///< the first kernel with io_uring
constexpr unsigned most_submissions = 32768;   ///< io_uring_setup(2), IORING_MAX_ENTRIES
constexpr unsigned most_completions = 65536;   ///< twice that
constexpr unsigned most_buffers = 32768;       ///< io_uring_register_buf_ring(3)

/// Cuts off what stands before `separator` (or all) and drops the separator.
std::string_view cut(std::string_view& text, char separator) {
    const std::size_t at = text.find(separator);
    const std::string_view head = text.substr(0, at);
    text.remove_prefix(at == std::string_view::npos ? text.size() : at + 1);
    return head;
}

std::string quoted(std::string_view text) {
    return "\"" + std::string(text) + "\"";
}

bool parse_number(std::string_view text, unsigned& into) {
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, into);
    return error == std::errc{} && stop == end;
}

std::string apply_number(std::string_view name, std::string_view text, unsigned most,
                         unsigned& into) {
    unsigned number = 0;
    if (!parse_number(text, number) || number < 1 || number > most) {
        return quoted(text) + " is no value for " + std::string(name) +
               "=, allowed is a number from 1 to " + std::to_string(most);
    }
    into = number;
    return {};
}

std::string apply_mask(std::string_view text, std::uint32_t& disabled) {
    kernel_version masked;
    std::string_view rest = text;
    const std::string_view major = cut(rest, '.');
    if (!parse_number(major, masked.major) || !parse_number(rest, masked.minor) ||
        masked < oldest_mask) {
        return quoted(text) +
               " is no value for mask=, allowed is a kernel version from 5.1 on, such as 6.1 "
               "or 6.8";
    }
    for (const feature_name& feature : feature_names) {
        if (feature.since > masked) disabled |= feature.bit;
    }
    return {};
}

std::string apply_disable(std::string_view names, std::uint32_t& disabled) {
    bool more = true;
    while (more) {
        more = names.find('+') != std::string_view::npos;
        const std::string_view name = cut(names, '+');
        const feature_name* known = nullptr;
        std::string allowed;
        for (const feature_name& feature : feature_names) {
            if (feature.name == name) known = &feature;
            allowed += (allowed.empty() ? "" : ", ") + std::string(feature.name);
        }
        if (known == nullptr) {
            return quoted(name) + " is no feature for disable=, allowed are (joined by +) " +
                   allowed;
        }
        disabled |= known->bit;
    }
    return {};
}

std::string apply_part(std::string_view part, poller_options& options) {
    std::string_view value = part;
    const std::string_view name = cut(value, '=');
    if (name == "sq") return apply_number(name, value, most_submissions, options.ring_entries);
    if (name == "cq") {
        return apply_number(name, value, most_completions, options.completion_entries);
    }
    if (name == "buffers") {
        std::string wrong = apply_number(name, value, most_buffers, options.lease_buffers);
        options.lease_buffers_most = options.lease_buffers;
        return wrong;
    }
    if (name == "disable") return apply_disable(value, options.disabled_features);
    if (name == "mask") return apply_mask(value, options.disabled_features);
    return quoted(part) + " is not understood, allowed are sq=, cq=, buffers=, disable= and mask=";
}

/// An unset and an empty variable are the same.
std::string_view environment(const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? std::string_view() : std::string_view(value);
}

bool parse_choice(std::string_view text, poller_choice& into) {
    constexpr std::array<std::pair<std::string_view, poller_choice>, 4> choices{{
        {"automatic", poller_choice::automatic},
        {"io_uring", poller_choice::io_uring},
        {"epoll", poller_choice::epoll},
        {"simulation", poller_choice::simulation},
    }};
    for (const auto& [name, choice] : choices) {
        if (name == text) {
            into = choice;
            return true;
        }
    }
    return text.empty();
}

std::string name_features(std::uint32_t bits) {
    std::string names;
    for (const feature_name& feature : feature_names) {
        if ((bits & feature.bit) == 0) continue;
        names += (names.empty() ? "" : ", ") + std::string(feature.name);
    }
    return names;
}

made_poller make_epoll(const poller_options& options, const std::string& why) {
    made_poller made;
    std::string why_not;
    int error = 0;
    made.instance = make_epoll_poller(options, why_not, error);
    made.reason = "epoll: " + why;
    if (made.instance != nullptr) return made;
    made.reason = "no poller: " + why + "; " + why_not;
    made.error = static_cast<std::errc>(error);
    return made;
}

/// `forced_by` is empty when nobody insists.
made_poller make_uring(const poller_options& options, bool strict, const std::string& forced_by) {
    made_poller made;
    std::string why_not;
    int error = 0;
    made.may_fall_back = forced_by.empty() && !strict;
    made.instance = make_uring_poller(options, why_not, &error);
    if (made.instance != nullptr) {
        made.reason = "io_uring: ";
        if (!forced_by.empty()) made.reason += forced_by + "; ";
        if (!why_not.empty()) {
            made.reason += why_not;
        } else if (options.disabled_features != 0) {
            made.reason += "without " + name_features(options.disabled_features) + ", as told";
        } else {
            made.reason += "all features present";
        }
        return made;
    }
    made.error = static_cast<std::errc>(error);
    // Without descriptors epoll fails as well, and then its words hide the cause.
    const bool no_descriptor = error == EMFILE || error == ENFILE;
    if (!no_descriptor) made.no_ring = why_not;
    if (!forced_by.empty()) {
        made.reason = "no poller: io_uring was " + forced_by + ", but " + why_not;
        return made;
    }
    if (strict) {
        made.reason = "no poller: falling back from io_uring is not allowed, and " + why_not;
        return made;
    }
    if (no_descriptor) {
        made.reason = "no poller: " + why_not;
        return made;
    }
    made = make_epoll(options, why_not + "; set CORO_POLLER=io_uring to insist");
    made.fell_back = made.instance != nullptr;
    return made;
}

}  // namespace

std::string apply_uring_environment(std::string_view text, poller_options& options) {
    if (text.empty()) return {};
    poller_options changed = options;
    bool more = true;
    while (more) {
        more = text.find(',') != std::string_view::npos;
        const std::string error = apply_part(cut(text, ','), changed);
        if (!error.empty()) return "CORO_URING: " + error;
    }
    // io_uring_setup(2) would return a bare EINVAL.
    if (changed.completion_entries != 0 && changed.completion_entries < changed.ring_entries) {
        return "CORO_URING: cq=" + std::to_string(changed.completion_entries) +
               " is too small, allowed is a number not below sq=" +
               std::to_string(changed.ring_entries);
    }
    options = changed;
    return {};
}

made_poller kernel_world::new_poller(unsigned /*index*/, const poller_terms& terms) {
    made_poller refused;
    poller_options options = terms.options;
    refused.error = std::errc::invalid_argument;
    refused.reason = apply_uring_environment(environment("CORO_URING"), options);
    if (!refused.reason.empty()) return refused;
    if (terms.epoll_only) return make_epoll(options, asked_by_);
    switch (choice_) {
        case poller_choice::automatic: return make_uring(options, terms.strict, {});
        case poller_choice::io_uring: return make_uring(options, terms.strict, asked_by_);
        case poller_choice::epoll: return make_epoll(options, asked_by_);
        case poller_choice::simulation: break;  // another world
    }
    refused.reason = "run_options::poller is none of the four choices: set one of poller_choice";
    return refused;
}

made_world make_world(const world_wishes& wishes) {
    made_world made;
    made.error = std::errc::invalid_argument;
    poller_options unused;
    made.reason = apply_uring_environment(environment("CORO_URING"), unused);
    if (!made.reason.empty()) return made;

    poller_choice from_environment = poller_choice::automatic;
    const std::string_view variable = environment("CORO_POLLER");
    if (!parse_choice(variable, from_environment)) {
        made.reason = "CORO_POLLER=" + quoted(variable) +
                      " names no poller: set it to io_uring, epoll, automatic or simulation, or "
                      "unset it";
        return made;
    }
    poller_choice choice = wishes.choice;
    std::string asked_by = "asked for by the program";
    if (choice == poller_choice::automatic) {
        choice = from_environment;
        asked_by = "asked for by CORO_POLLER";
    }
    if (choice == poller_choice::simulation) {
        if (wishes.simulation.chunk_most == 0) {
            made.reason = "options.simulation.chunk_most is 0, so that no byte could move: say at "
                          "least 1";
            return made;
        }
        const std::string seed =
            wishes.seed == 0 ? "no seed" : "seed " + std::to_string(wishes.seed);
        made.instance = std::make_unique<sim_world>(wishes.seed, wishes.simulation,
                                                    "simulation: " + asked_by + ", " + seed);
    } else {
        made.instance = std::make_unique<kernel_world>(choice, std::move(asked_by));
    }
    return made;
}

std::unique_ptr<poller> (*wrap_poller)(std::unique_ptr<poller>) = nullptr;

made_poller world::make_poller(unsigned index, const poller_terms& terms) {
    made_poller made = new_poller(index, terms);
    if (wrap_poller != nullptr && made.instance != nullptr)
        made.instance = wrap_poller(std::move(made.instance));
    return made;
}

}}}  // namespace coro::v0::detail
