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

/// Bit 14 of the effective capabilities, a hexadecimal number: capabilities(7), CAP_IPC_LOCK.
bool has_lock_capability(std::string_view status) {
    const auto field = field_of(status, "CapEff");
    if (!field || field->size() < 4) return false;
    const char digit = (*field)[field->size() - 4];  // bits 12 to 15
    const int value = digit >= '0' && digit <= '9'   ? digit - '0'
                      : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10
                                                     : 0;
    return (value & 4) != 0;
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
    std::optional<std::uint64_t> room = memory_available;
    if (group.memory.value != unlimited) {
        const std::uint64_t left =
            group.memory.value - std::min(group.memory.value, group.memory.used);
        room = std::min(room.value_or(left), left);
    }
    return room;
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
    seen.may_lock_memory = has_lock_capability(status.text);
    seen.is_sysctl_read_only =
        is_mounted_read_only(seen.files.read("/proc/self/mountinfo").text, "/proc/sys");
    look_at_limits(seen);
    seen.group = look_at_groups(seen);
    return seen;
}

}  // namespace coro_doctor
