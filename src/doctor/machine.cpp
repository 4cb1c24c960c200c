#include "doctor/machine.hpp"

#include <algorithm>
#include <cstring>

namespace coro_doctor {
namespace {

/// Numbers of a list like "0-3,8"; nothing when it is no such list.
std::optional<std::uint64_t> count_list(std::string_view list) {
    std::uint64_t count = 0;
    while (!list.empty()) {
        const std::size_t comma = std::min(list.find(','), list.size());
        const std::string_view part = list.substr(0, comma);
        list.remove_prefix(std::min(comma + 1, list.size()));
        const std::size_t dash = part.find('-');
        const auto first = parse_number(part.substr(0, dash));
        const auto last =
            dash == std::string_view::npos ? first : parse_number(part.substr(dash + 1));
        if (!first || !last || *last < *first || *last - *first > 1'000'000) return std::nullopt;
        count += *last - *first + 1;
    }
    if (count == 0) return std::nullopt;
    return count;
}

/// The auxiliary vector is pairs of words, type and value: getauxval(3).
std::optional<std::uint64_t> page_bytes_in(std::string_view vector) {
    constexpr unsigned long type_of_page_size = 6;
    unsigned long pair[2];
    for (; vector.size() >= sizeof pair; vector.remove_prefix(sizeof pair)) {
        std::memcpy(pair, vector.data(), sizeof pair);
        if (pair[0] == type_of_page_size && pair[1] >= 1024) return pair[1];
    }
    return std::nullopt;
}

/// Bits of the effective capabilities, a hexadecimal number: capabilities(7).
constexpr unsigned bit_of_ipc_lock = 14;
constexpr unsigned bit_of_admin = 21;
constexpr unsigned bit_of_resource = 24;

bool has_capability(std::string_view status, unsigned bit) {
    const auto field = field_of(status, "CapEff");
    if (!field || field->size() <= bit / 4) return false;
    const char digit = (*field)[field->size() - 1 - bit / 4];
    const int value = digit >= '0' && digit <= '9'   ? digit - '0'
                      : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10
                                                     : 0;
    return (value >> (bit % 4) & 1) != 0;
}

/// Whether its capabilities count outside of a user namespace of its own: limits ask for those of
/// the first one, which maps each user to itself. Without the file there are no user namespaces.
bool is_in_first_user_namespace(const machine& seen) {
    const reading map = seen.files.read(seen.process_file("uid_map"));
    if (map.state == read_state::missing) return true;
    const auto numbers = numbers_of(map.text);
    return numbers && *numbers == std::vector<std::uint64_t>{0, 0, 4294967295};
}

void look_at_privileges(machine& seen, std::string_view status) {
    if (!is_in_first_user_namespace(seen)) return;
    const auto users = field_of(status, "Uid");
    const bool is_root = users && !users->empty() && words_of(*users).front() == "0";
    seen.may_lock_memory = has_capability(status, bit_of_ipc_lock);
    seen.may_exceed_processes = is_root || has_capability(status, bit_of_resource) ||
                                has_capability(status, bit_of_admin);
}

/// Threads of all processes of the user of `status`, as RLIMIT_NPROC counts them.
std::optional<std::uint64_t> count_threads_of_user(const machine& seen, std::string_view status) {
    const auto user = field_of(status, "Uid");
    const auto names = seen.files.names_in("/proc");
    if (!user || user->empty() || !names) return std::nullopt;
    std::uint64_t count = 0;
    for (const std::string& name : *names) {
        if (!parse_number(name)) continue;
        const std::string other = seen.files.read("/proc/" + name + "/status").text;
        const auto its_user = field_of(other, "Uid");
        const auto threads = field_of(other, "Threads");
        if (!its_user || its_user->empty() || !threads) continue;  // it has ended meanwhile
        if (words_of(*its_user).front() == words_of(*user).front())
            count += parse_number(*threads).value_or(0);
    }
    return count;
}

void look_at_threads(machine& seen, std::string_view status) {
    if (!seen.may_exceed_processes) seen.threads_of_user = count_threads_of_user(seen, status);
    // "0.20 0.18 0.12 1/80 11206": runnable and all threads, proc_loadavg(5).
    const std::string load = seen.files.read("/proc/loadavg").text;
    const std::vector<std::string_view> words = words_of(load);
    if (words.size() < 4) return;
    const std::size_t slash = words[3].find('/');
    if (slash == std::string_view::npos) return;
    seen.threads_of_all = parse_number(words[3].substr(slash + 1)).value_or(0);
}

void look_at_taken(machine& seen, std::string_view status) {
    if (seen.asked.process == 0) return;
    seen.taken.bytes = kibibytes_of(status, "RssAnon").value_or(0);
    if (const auto threads = field_of(status, "Threads"))
        seen.taken.threads = parse_number(*threads).value_or(0);
    if (const auto names = seen.files.names_in(seen.process_file("fd")))
        seen.taken.descriptors = names->size();
    const auto own = seen.files.link("/proc/self/ns/net");
    const auto of_process = seen.files.link(seen.process_file("ns/net"));
    seen.is_in_other_network = own && of_process && *own != *of_process;
}

bool is_mounted_read_only(std::string_view mounts, std::string_view place) {
    bool is = false;
    while (!mounts.empty()) {
        const std::size_t end = std::min(mounts.find('\n'), mounts.size());
        const std::vector<std::string_view> words = words_of(mounts.substr(0, end));
        mounts.remove_prefix(std::min(end + 1, mounts.size()));
        // "36 35 98:0 /mnt1 /mnt2 rw,noatime …": the fifth word is the place; a later line hides an
        // earlier one.
        if (words.size() > 5 && words[4] == place)
            is = words[5] == "ro" || words[5].starts_with("ro,");
    }
    return is;
}

std::optional<std::uint64_t> parse_limit_word(std::string_view word) {
    return word == "unlimited" ? unlimited : parse_number(word);
}

void look_at_limits(machine& seen) {
    const reading limits = seen.files.read(seen.process_file("limits"));
    seen.open_files = parse_limit(limits.text, "Max open files");
    seen.locked_memory = parse_limit(limits.text, "Max locked memory");
    seen.processes = parse_limit(limits.text, "Max processes");
}

}  // namespace

std::optional<resource_limit> parse_limit(std::string_view limits, std::string_view name) {
    const std::size_t at = limits.find(name);
    if (at == std::string_view::npos) return std::nullopt;
    const std::string_view line =
        limits.substr(at + name.size(), limits.find('\n', at) - at - name.size());
    const std::vector<std::string_view> words = words_of(line);
    if (words.size() < 2) return std::nullopt;
    const auto soft = parse_limit_word(words[0]);
    const auto hard = parse_limit_word(words[1]);
    if (!soft || !hard) return std::nullopt;
    return resource_limit{*soft, *hard};
}

std::optional<std::uint64_t> machine::memory_room() const noexcept {
    std::optional<std::uint64_t> room = machine_room();
    if (group.memory.value != unlimited) {
        const std::uint64_t left = left_of(group.memory, taken.bytes);
        room = std::min(room.value_or(left), left);
    }
    return room;
}

std::optional<std::uint64_t> machine::machine_room() const noexcept {
    if (!memory_available) return std::nullopt;
    const std::uint64_t most = std::max(memory_total.value_or(unlimited), *memory_available);
    return *memory_available + std::min(taken.bytes, most - *memory_available);
}

std::uint64_t machine::left_of(const group_limit& limit, std::uint64_t given_back) noexcept {
    const std::uint64_t used = limit.used - std::min(limit.used, given_back);
    return limit.value - std::min(limit.value, used);
}

std::optional<std::uint64_t> machine::threads_left_of_user() const noexcept {
    if (may_exceed_processes) return unlimited;
    if (!processes || processes->soft == unlimited)
        return processes ? std::optional(unlimited) : std::nullopt;
    const std::uint64_t all = threads_of_user.value_or(0);
    const std::uint64_t others = all - std::min(all, taken.threads);
    return processes->soft - std::min(processes->soft, others);
}

std::string machine::process_file(std::string_view name) const {
    const std::string process = asked.process == 0 ? "self" : std::to_string(asked.process);
    return "/proc/" + process + "/" + std::string(name);
}

std::string machine::how_to_set(std::string_view name, std::string_view value) const {
    std::string how = "sysctl -w " + std::string(name) + "=" + std::string(value);
    if (is_sysctl_read_only) {
        how += " (/proc/sys is read-only here: on the host, or by the container's --sysctl)";
    }
    return how;
}

std::optional<std::vector<std::uint64_t>> machine::variable(std::string_view path,
                                                            std::size_t count) const {
    const reading file = files.read("/proc/sys/" + std::string(path));
    auto numbers = numbers_of(file.text);
    if (!file.is_present() || !numbers || numbers->size() < count) return std::nullopt;
    return numbers;
}

machine look_at_machine(const question& asked) {
    machine seen{.files = system_files(asked.root), .asked = asked};
    const std::string kernel = seen.files.read("/proc/sys/kernel/osrelease").text;
    if (const auto words = words_of(kernel); !words.empty()) seen.kernel = printable(words.front());
    seen.page_bytes =
        page_bytes_in(seen.files.read("/proc/self/auxv").text).value_or(seen.page_bytes);
    const reading memory = seen.files.read("/proc/meminfo");
    seen.memory_total = kibibytes_of(memory.text, "MemTotal");
    seen.memory_available = kibibytes_of(memory.text, "MemAvailable");
    const reading status = seen.files.read(seen.process_file("status"));
    if (const auto list = field_of(status.text, "Cpus_allowed_list"))
        seen.processors = count_list(*list);
    look_at_privileges(seen, status.text);
    look_at_threads(seen, status.text);
    look_at_taken(seen, status.text);
    seen.is_sysctl_read_only =
        is_mounted_read_only(seen.files.read("/proc/self/mountinfo").text, "/proc/sys");
    look_at_limits(seen);
    seen.group = look_at_groups(seen);
    return seen;
}

}  // namespace coro_doctor
