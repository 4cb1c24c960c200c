#include "doctor/needs.hpp"

#include <algorithm>

#include "doctor/rows.hpp"

namespace coro_doctor {
namespace {

constexpr std::uint64_t a_million = 1'000'000;

verdict compare(const need& it, std::string_view remedy) {
    if (it.is_unknown) {
        return note("What this machine has of it is not known: look at the rows that say why.");
    }
    if (!it.is_limited) return fine("Nothing here limits it.");
    if (it.asked > it.here) return problem("Does not fit. " + std::string(remedy));
    if (it.million > it.here) return fine("Fits; a million do not. " + std::string(remedy));
    return fine("Fits, and so do a million.");
}

class needs_of {
public:
    explicit needs_of(const machine& seen) : seen_(seen) {}

    std::vector<need> compute() {
        add_memory();
        add_descriptors();
        add_ports();
        add_conntrack();
        if (seen_.asked.fibers) add_mappings();
        add_threads();
        add_locked_memory();
        return std::move(needs_);
    }

private:
    /// A need of `each` per connection.
    need per_connection(std::string name, std::string meaning, std::uint64_t each) const {
        return {.name = std::move(name),
                .meaning = std::move(meaning),
                .asked = product(seen_.asked.connections, each),
                .million = product(a_million, each)};
    }

    /// `here`: what there is of it, `unlimited`, or nothing where that is not known.
    void add(need it, std::optional<std::uint64_t> here, std::string_view remedy) {
        it.is_unknown = !here;
        it.is_limited = here && *here != unlimited;
        it.here = it.is_limited ? *here : 0;
        it.says = compare(it, remedy);
        needs_.push_back(std::move(it));
    }

    void add_memory() {
        const std::uint64_t user = user_bytes(seen_.asked);
        need in_user =
            per_connection("user memory",
                           std::to_string(user - seen_.asked.bytes_user) + " bytes of coro and " +
                               std::to_string(seen_.asked.bytes_user) + " of the handler for each.",
                           user);
        need in_kernel = per_connection(
            "kernel memory", std::to_string(kernel_bytes_connection) + " bytes for each, idle.",
            kernel_bytes_connection);
        need both = per_connection("memory, both", "Beside it a busy one has data that is queued.",
                                   user + kernel_bytes_connection);
        need time_wait = per_connection("memory, all in TIME_WAIT",
                                        std::to_string(kernel_bytes_time_wait) +
                                            " bytes for each, where this side closed first.",
                                        kernel_bytes_time_wait);
        for (need* it : {&in_user, &in_kernel, &both, &time_wait})
            it->in_bytes = true;
        for (need* it : {&in_user, &in_kernel}) {
            it->says = fine("A part of the next row.");
            needs_.push_back(std::move(*it));
        }
        add(std::move(both), seen_.memory_room(), "More memory, or less for each.");
        add_time_wait(std::move(time_wait));
        if (const auto pages = seen_.variable("net/ipv4/tcp_mem", 3);
            pages && (*pages)[1] < unlimited / seen_.page_bytes) {
            const std::uint64_t bytes = (*pages)[1] * seen_.page_bytes;
            need buffers{.name = "buffers for each",
                         .meaning = "What tcp_mem leaves to each until the kernel saves.",
                         .asked = bytes / seen_.asked.connections,
                         .million = bytes / a_million,
                         .in_bytes = true,
                         .says = fine("Idle ones hold none.")};
            needs_.push_back(std::move(buffers));
        }
    }

    /// The kernel keeps no more of them than tcp_max_tw_buckets: more than that do no harm here.
    void add_time_wait(need it) {
        const auto room = seen_.memory_room();
        const std::uint64_t wanted = it.asked;
        add(std::move(it), room, "More memory.");
        const auto buckets = seen_.is_in_other_network
                                 ? std::nullopt
                                 : seen_.variable("net/ipv4/tcp_max_tw_buckets");
        if (!room || !buckets) return;
        const std::uint64_t kept = product((*buckets)[0], kernel_bytes_time_wait);
        if (wanted <= kept || kept > *room) return;
        needs_.back().says =
            note("The kernel keeps " + bytes_text(kept) + " of them at most " +
                 "(tcp_max_tw_buckets), and forgets the others before their time.");
    }

    void add_descriptors() {
        need it{.name = "descriptors",
                .meaning = "One for each, " + std::to_string(descriptors_of_loop) +
                           " for a loop, " + std::to_string(descriptors_of_program) +
                           " for the program.",
                .asked = descriptors_for(seen_.asked.connections, seen_.asked.loops),
                .million = descriptors_for(a_million, seen_.asked.loops)};
        need of_system = it;
        std::optional<std::uint64_t> here;
        if (seen_.open_files) here = seen_.open_files->hard;
        if (const auto most = seen_.variable("fs/nr_open"))
            here = std::min(here.value_or(unlimited), (*most)[0]);
        add(std::move(it), here, "Raise RLIMIT_NOFILE, and fs.nr_open above it.");

        of_system.name = "descriptors, system";
        of_system.meaning = "Beside those that all programs have open now.";
        here.reset();
        const auto most = seen_.variable("fs/file-max");
        const auto open = seen_.variable("fs/file-nr", 3);
        if (most && open) {
            const std::uint64_t all = (*open)[0];
            const std::uint64_t others = all - std::min(all, seen_.taken.descriptors);
            here = (*most)[0] - std::min((*most)[0], others);
        }
        add(std::move(of_system), here, "Raise fs.file-max.");
    }

    void add_ports() {
        if (seen_.is_in_other_network) return;
        const auto range = seen_.variable("net/ipv4/ip_local_port_range", 2);
        if (!range || (*range)[0] > (*range)[1] || (*range)[1] > 65535) return;
        const std::uint64_t ports = (*range)[1] - (*range)[0] + 1;
        const auto addresses = [ports](std::uint64_t connections) {
            return (connections + ports - 1) / ports;
        };
        needs_.push_back({.name = "local addresses, outgoing",
                          .meaning = std::to_string(ports) + " ports on each, if all go to one "
                                                             "destination.",
                          .asked = addresses(seen_.asked.connections),
                          .million = addresses(a_million),
                          .says = fine("Accepted connections take none.")});
    }

    void add_conntrack() {
        if (seen_.is_in_other_network) return;
        const auto most = seen_.variable("net/netfilter/nf_conntrack_max");
        if (!most) return;
        const auto counted = seen_.variable("net/netfilter/nf_conntrack_count");
        const std::uint64_t used = counted ? (*counted)[0] : 0;
        add(per_connection("tracked connections", "If the firewall tracks this port.", 1),
            (*most)[0] - std::min((*most)[0], used), "Raise net.netfilter.nf_conntrack_max.");
        if (used == 0 && needs_.back().says.level == severity::problem)
            needs_.back().says.level = severity::note;  // nothing is tracked
    }

    void add_mappings() {
        need it{.name = "mappings",
                .meaning = "Two for each fiber, and " + std::to_string(mappings_of_program) +
                           " for the program.",
                .asked = mappings_for(seen_.asked.connections),
                .million = mappings_for(a_million)};
        std::optional<std::uint64_t> here;
        if (const auto most = seen_.variable("vm/max_map_count")) here = (*most)[0];
        add(std::move(it), here, "Raise vm.max_map_count, or use tasks.");
    }

    void add_threads() {
        need it{.name = "threads",
                .meaning = "The loops, and run_options::blocking_threads.",
                .asked = threads_for(seen_.asked.loops),
                .million = threads_for(seen_.asked.loops)};
        std::optional<std::uint64_t> here = seen_.threads_left_of_user();
        if (seen_.group.pids.value != unlimited) {
            here = std::min(here.value_or(unlimited),
                            machine::left_of(seen_.group.pids, seen_.taken.threads));
        }
        add(std::move(it), here, "Raise pids.max, or ulimit -u.");
    }

    void add_locked_memory() {
        need it{.name = "locked memory",
                .meaning = "Rings, " + bytes_text(locked_bytes_of_loop) + " for a loop at most.",
                .asked = seen_.asked.loops * locked_bytes_of_loop,
                .million = seen_.asked.loops * locked_bytes_of_loop,
                .in_bytes = true};
        std::optional<std::uint64_t> here;
        if (seen_.locked_memory) here = seen_.locked_memory->soft;
        if (seen_.may_lock_memory) here = unlimited;
        add(std::move(it), here, "Raise ulimit -l.");
        // Without it a run takes smaller rings or epoll.
        if (needs_.back().says.level == severity::problem)
            needs_.back().says.level = severity::warning;
    }

    const machine& seen_;
    std::vector<need> needs_;
};

}  // namespace

std::vector<need> compute_needs(const machine& seen) {
    return needs_of(seen).compute();
}

}  // namespace coro_doctor
