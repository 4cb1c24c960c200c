// The report as text: aligned, plain, 100 columns.
#include <algorithm>
#include <array>

#include <coro/version.hpp>

#include "doctor/report.hpp"
#include "doctor/system_files.hpp"

namespace coro_doctor {
namespace {

constexpr std::size_t columns = 100;
constexpr std::size_t name_column = 9;  ///< behind "warning"
constexpr std::size_t value_column = 47;

std::string padded(std::string text, std::size_t width) {
    if (text.size() < width) text.append(width - text.size(), ' ');
    return text;
}

std::string right(const std::string& text, std::size_t width) {
    return text.size() < width ? std::string(width - text.size(), ' ') + text : text;
}

/// Lines of at most 100 columns, each behind `indent` blanks; a longer word stands alone.
std::string wrapped(std::string_view text, std::size_t indent) {
    std::string out;
    std::string line;
    for (const std::string_view word : words_of(text)) {
        if (!line.empty() && indent + line.size() + 1 + word.size() > columns) {
            out += std::string(indent, ' ') + line + "\n";
            line.clear();
        }
        line += (line.empty() ? "" : " ") + std::string(word);
    }
    if (!line.empty()) out += std::string(indent, ' ') + line + "\n";
    return out;
}

std::string text_of_row(const finding& row) {
    std::string name = padded(std::string(name_of(row.says.level)), name_column) + row.name;
    std::string head;
    if (name.size() < value_column && value_column + row.value.size() <= columns) {
        head = padded(std::move(name), value_column) + row.value + "\n";
    } else {
        head = name + "\n" + wrapped(row.value, name_column);
    }
    return head + wrapped(row.meaning, name_column) + wrapped(row.says.advice, name_column);
}

std::string amount(std::uint64_t number, bool in_bytes) {
    return in_bytes ? bytes_text(number) : std::to_string(number);
}

constexpr std::array needs_columns{std::size_t{36}, std::size_t{15}, std::size_t{15},
                                   std::size_t{15}};

std::string needs_line(const std::array<std::string, 4>& cells) {
    std::string line = padded(cells[0], needs_columns[0]);
    for (std::size_t at = 1; at < cells.size(); ++at)
        line += right(cells[at], needs_columns[at]);
    return line + "\n";
}

std::string text_of_needs(const report& all) {
    std::string out = "\nNeeds\n";
    out += needs_line({"", std::to_string(all.asked.connections), "1000000", "here"});
    for (const need& it : all.needs) {
        const std::string name = padded(std::string(name_of(it.says.level)), name_column) + it.name;
        out += needs_line(
            {name, amount(it.asked, it.in_bytes), amount(it.million, it.in_bytes),
             it.is_unknown   ? "unknown"
             : it.is_limited ? amount(it.here, it.in_bytes)
                             : "-"});
        out += wrapped(it.meaning + " " + it.says.advice, name_column);
    }
    return out;
}

std::string judged_for(const question& asked) {
    return "judged for " + std::to_string(asked.connections) + " connections, " +
           (asked.fibers ? "fibers" : "coroutines") + ", " + std::to_string(asked.loops) +
           (asked.loops == 1 ? " loop" : " loops");
}

std::string subject(const report& all) {
    const question& asked = all.asked;
    const std::string process =
        asked.process == 0 ? std::string()
                           : "process " + std::to_string(asked.process) + " (" + all.process + ")";
    if (asked.process != 0 && !asked.tell_needs) return process;
    return (process.empty() ? "" : process + ", ") + judged_for(asked);
}

std::string ending(const report& all) {
    std::array<std::size_t, 4> counts{};
    for (const finding& row : all.rows)
        ++counts[static_cast<std::size_t>(row.says.level)];
    for (const need& it : all.needs)
        ++counts[static_cast<std::size_t>(it.says.level)];
    const auto counted = [](std::size_t count, const std::string& noun) {
        return std::to_string(count) + " " + noun + (count == 1 ? "" : "s");
    };
    return "\n" + counted(counts[3], "problem") + ", " + counted(counts[2], "warning") + ", " +
           counted(counts[1], "note") + ", " + std::to_string(counts[0]) + " ok\n";
}

}  // namespace

severity worst_of(const report& all) noexcept {
    severity worst = severity::ok;
    for (const finding& row : all.rows)
        worst = std::max(worst, row.says.level);
    for (const need& it : all.needs)
        worst = std::max(worst, it.says.level);
    return worst;
}

std::string version_text() {
    return std::to_string(coro::version_major) + "." + std::to_string(coro::version_minor) + "." +
           std::to_string(coro::version_patch);
}

std::string text_of(const report& all) {
    std::string out =
        wrapped("coro-doctor " + version_text() + ", Linux " +
                    (all.kernel.empty() ? "unknown" : all.kernel) + ", " + subject(all),
                0);
    std::string section;
    for (const finding& row : all.rows) {
        if (all.asked.brief && row.says.level == severity::ok) continue;
        if (row.section != section) {
            section = row.section;
            std::string heading = section;
            heading.front() = static_cast<char>(heading.front() - 'a' + 'A');
            out += "\n" + (section == "io_uring" ? section : heading) + "\n";
        }
        out += text_of_row(row);
    }
    if (!all.needs.empty()) out += text_of_needs(all);
    return out + ending(all);
}

}  // namespace coro_doctor
