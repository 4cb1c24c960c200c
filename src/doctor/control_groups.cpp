// The limits of control groups, as containers have them: cgroups(7), version 2 and version 1.
#include <algorithm>
#include <string>

#include "doctor/machine.hpp"

namespace coro_doctor {
namespace {

/// Version 1 writes "no limit" as the greatest number of whole pages, 2^63 less a page.
constexpr std::uint64_t no_limit_of_version_1 = std::uint64_t{1} << 62;

/// The path of our group in a line of /proc/PID/cgroup. An empty controller is version 2.
std::optional<std::string_view> path_of(std::string_view groups, std::string_view controller) {
    while (!groups.empty()) {
        const std::size_t end = std::min(groups.find('\n'), groups.size());
        const std::string_view line = groups.substr(0, end);
        groups.remove_prefix(std::min(end + 1, groups.size()));
        const std::size_t first = line.find(':');
        if (first == std::string_view::npos) continue;
        const std::size_t second = line.find(':', first + 1);
        if (second == std::string_view::npos) continue;
        const std::string names =
            "," + std::string(line.substr(first + 1, second - first - 1)) + ",";
        const bool is_version_2 = line.substr(0, first) == "0" && names == ",,";
        const bool is_it = controller.empty()
                               ? is_version_2
                               : names.find("," + std::string(controller) + ",") != names.npos;
        if (is_it) return line.substr(second + 1);
    }
    return std::nullopt;
}

/// "/a/b", "/a" and the empty path: a limit above holds below as well. In a container the path is
/// often the host's and leads nowhere; our group is then the root of the mount.
std::vector<std::string> with_parents(std::string_view path) {
    std::vector<std::string> all;
    while (path.size() > 1 && path.front() == '/') {
        all.emplace_back(path);
        path = path.substr(0, path.rfind('/'));
    }
    all.emplace_back();
    return all;
}

/// A number, `unlimited` for "max", nothing for what is neither.
std::optional<std::uint64_t> limit_in(const reading& file) {
    if (!file.is_present()) return std::nullopt;
    const std::vector<std::string_view> words = words_of(file.text);
    if (words.size() != 1) return std::nullopt;
    if (words.front() == "max") return unlimited;
    return parse_number(words.front());
}

std::uint64_t number_in(const reading& file) {
    return parse_number(file.text).value_or(0);
}

/// The number behind a word in memory.stat; 0 where it is not.
std::uint64_t stat_of(std::string_view stat, std::string_view key) {
    const std::vector<std::string_view> words = words_of(stat);
    for (std::size_t at = 0; at + 1 < words.size(); at += 2) {
        if (words[at] == key) return parse_number(words[at + 1]).value_or(0);
    }
    return 0;
}

class group_reader {
public:
    explicit group_reader(const machine& seen)
        : files_(seen.files), groups_(files_.read(seen.process_file("cgroup")).text) {}

    group_limits read() {
        if (const auto path = path_of(groups_, "")) {
            // "unified" is where version 2 stands beside version 1.
            for (const char* mount : {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}) {
                for (const std::string& group : with_parents(*path))
                    read_version_2(mount + group);
            }
        }
        for_each_group("memory", &group_reader::read_memory_1);
        for_each_group("pids", &group_reader::read_pids);
        for_each_group("cpu", &group_reader::read_processors_1);
        return found_;
    }

private:
    void for_each_group(const std::string& controller,
                        void (group_reader::*read_one)(const std::string&)) {
        const auto path = path_of(groups_, controller);
        if (!path) return;
        for (const std::string& group : with_parents(*path))
            (this->*read_one)("/sys/fs/cgroup/" + controller + group);
    }

    /// Keeps `limit` where it leaves less than what is known. A greater limit above can be fuller.
    void tighten(group_limit& known, const std::optional<std::uint64_t>& limit, std::uint64_t used,
                 const std::string& source) {
        if (limit) found_.is_readable = true;
        if (!limit || *limit == unlimited) return;
        const group_limit made{.value = *limit, .used = used, .source = source};
        if (machine::left_of(made, 0) < machine::left_of(known, 0)) known = made;
    }

    void read_version_2(const std::string& folder) {
        // The first group has no limits, and no files for them.
        if (files_.read(folder + "/cgroup.controllers").is_present()) found_.is_readable = true;
        const std::uint64_t used =
            in_use(number_in(files_.read(folder + "/memory.current")), folder, "inactive_file");
        for (const char* name : {"/memory.max", "/memory.high"}) {
            const std::string file = folder + name;
            tighten(found_.memory, limit_in(files_.read(file)), used, file);
        }
        read_pids(folder);
        const std::string file = folder + "/cpu.max";
        const std::string text = files_.read(file).text;
        const std::vector<std::string_view> words = words_of(text);
        if (words.size() != 2) return;
        if (words[0] == "max")
            found_.is_readable = true;
        else
            tighten(found_.processors, thousandths(words[0], words[1]), 0, file);
    }

    void read_memory_1(const std::string& folder) {
        const std::string file = folder + "/memory.limit_in_bytes";
        std::optional<std::uint64_t> limit = limit_in(files_.read(file));
        if (limit && *limit >= no_limit_of_version_1) limit = unlimited;
        tighten(found_.memory, limit,
                in_use(number_in(files_.read(folder + "/memory.usage_in_bytes")), folder,
                       "total_inactive_file"),
                file);
    }

    void read_pids(const std::string& folder) {
        const std::string file = folder + "/pids.max";
        tighten(found_.pids, limit_in(files_.read(file)),
                number_in(files_.read(folder + "/pids.current")), file);
    }

    void read_processors_1(const std::string& folder) {
        const std::string file = folder + "/cpu.cfs_quota_us";
        const std::string quota = files_.read(file).text;
        const std::string period = files_.read(folder + "/cpu.cfs_period_us").text;
        tighten(found_.processors, thousandths(quota, period), 0, file);  // "-1", no limit, is none
    }

    /// Pages of files that nobody used of late are dropped when memory is short.
    std::uint64_t in_use(std::uint64_t used, const std::string& folder, std::string_view key) {
        const reading stat = files_.read(folder + "/memory.stat");
        return used - std::min(used, stat_of(stat.text, key));
    }

    static std::optional<std::uint64_t> thousandths(std::string_view quota,
                                                    std::string_view period) {
        const auto of = parse_number(quota);
        const auto per = parse_number(period);
        if (!of || !per || *per == 0 || *of > unlimited / 1000) return std::nullopt;
        return *of * 1000 / *per;
    }

    const system_files& files_;
    std::string groups_;
    group_limits found_;
};

}  // namespace

group_limits look_at_groups(const machine& seen) {
    return group_reader(seen).read();
}

}  // namespace coro_doctor
