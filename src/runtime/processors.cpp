// Asks the system how many processors there are for us.
#include "runtime/processors.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <limits>
#include <memory>
#include <vector>

#include <sched.h>
#include <sys/resource.h>

namespace coro { inline namespace v0 { namespace detail {

namespace {

/// Takes the text up to `separator` off `rest`.
std::string_view take_until(std::string_view& rest, char separator) noexcept {
    const std::size_t end = std::min(rest.find(separator), rest.size());
    const std::string_view part = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    return part;
}

std::optional<std::uint64_t> parse_number(std::string_view text) noexcept {
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return number;
}

std::optional<processor_quota> make_quota(std::string_view quota,
                                          std::string_view period) noexcept {
    const auto of = parse_number(quota);
    const auto per = parse_number(period);
    if (!of || !per || *per == 0) return std::nullopt;
    return processor_quota{*of, *per};
}

std::string_view first_line(std::string_view text) noexcept { return take_until(text, '\n'); }

/// Whether `name` stands in a list like `cpu,cpuacct`.
bool lists(std::string_view list, std::string_view name) noexcept {
    while (!list.empty()) {
        if (take_until(list, ',') == name) return true;
    }
    return false;
}

/// `/a/b`, `/a`, and the empty path of the root: a limit above holds below, too. In a container the
/// path is often the host's and leads nowhere in the mount; the root of the mount is then our
/// group.
std::vector<std::string> with_parents(std::string_view path) {
    std::vector<std::string> all;
    while (path.size() > 1 && path.front() == '/') {
        all.emplace_back(path);
        path = path.substr(0, path.rfind('/'));
    }
    all.emplace_back();
    return all;
}

void tighten(std::optional<unsigned>& limit, const std::optional<processor_quota>& by) noexcept {
    if (by) limit = std::min(limit.value_or(by->processors()), by->processors());
}

std::optional<std::string> read_file(const std::string& path, void*) {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "re"),
                                                               &std::fclose);
    if (file == nullptr) return std::nullopt;
    std::string text;
    std::array<char, 1024> buffer;
    constexpr std::size_t largest = 64 * 1024;  // these files have a few lines
    while (const std::size_t count = std::fread(buffer.data(), 1, buffer.size(), file.get())) {
        text.append(buffer.data(), count);
        if (text.size() > largest) return std::nullopt;
    }
    return text;
}

/// Processors in the affinity mask; 0 when the system does not say.
unsigned affinity_processors() {
    // The kernel refuses a mask shorter than its own with EINVAL, and does not tell its length.
    for (std::size_t count = 1024; count <= 1024 * 1024; count *= 4) {
        const auto words = (count + 8 * sizeof(cpu_set_t) - 1) / (8 * sizeof(cpu_set_t));
        std::vector<cpu_set_t> mask(words);
        const std::size_t bytes = words * sizeof(cpu_set_t);
        if (::sched_getaffinity(0, bytes, mask.data()) == 0) {
            return static_cast<unsigned>(CPU_COUNT_S(bytes, mask.data()));
        }
    }
    return 0;
}

}  // namespace

unsigned processor_quota::processors() const noexcept {
    constexpr std::uint64_t most = std::numeric_limits<unsigned>::max();
    return static_cast<unsigned>(std::clamp<std::uint64_t>(quota / period, 1, most));
}

std::optional<processor_quota> parse_cpu_max(std::string_view text) noexcept {
    std::string_view rest = first_line(text);
    const std::string_view quota = take_until(rest, ' ');
    return make_quota(quota, rest);
}

std::optional<processor_quota> parse_cfs(std::string_view quota, std::string_view period) noexcept {
    return make_quota(first_line(quota), first_line(period));  // "-1" is no number here
}

std::optional<std::string_view> control_group(std::string_view proc_self_cgroup,
                                              std::string_view controller) noexcept {
    while (!proc_self_cgroup.empty()) {
        std::string_view path = take_until(proc_self_cgroup, '\n');
        const std::string_view hierarchy = take_until(path, ':');
        const std::string_view controllers = take_until(path, ':');
        const bool unified = hierarchy == "0" && controllers.empty();
        if (controller.empty() ? unified : lists(controllers, controller)) return path;
    }
    return std::nullopt;
}

std::optional<unsigned> control_group_limit(file_reader read, void* user) {
    const std::optional<std::string> groups = read("/proc/self/cgroup", user);
    if (!groups) return std::nullopt;
    std::optional<unsigned> limit;
    if (const auto path = control_group(*groups, "")) {
        // "unified" is where version 2 stands beside version 1.
        for (const char* mount : {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}) {
            for (const std::string& group : with_parents(*path)) {
                const auto text = read(mount + group + "/cpu.max", user);
                if (text) tighten(limit, parse_cpu_max(*text));
            }
        }
    }
    if (const auto path = control_group(*groups, "cpu")) {
        for (const char* mount : {"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"}) {
            for (const std::string& group : with_parents(*path)) {
                const auto quota = read(mount + group + "/cpu.cfs_quota_us", user);
                const auto period = read(mount + group + "/cpu.cfs_period_us", user);
                if (quota && period) tighten(limit, parse_cfs(*quota, *period));
            }
        }
    }
    return limit;
}

unsigned available_processors() {
    const unsigned allowed = std::max(affinity_processors(), 1u);
    return std::min(allowed, control_group_limit(&read_file, nullptr).value_or(allowed));
}

std::uint64_t involuntary_switches() noexcept {
    rusage usage{};
    if (::getrusage(RUSAGE_THREAD, &usage) != 0) return 0;
    return static_cast<std::uint64_t>(usage.ru_nivcsw);
}

}}}  // namespace coro::v0::detail
