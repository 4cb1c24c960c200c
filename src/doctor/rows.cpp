#include "doctor/rows.hpp"

#include <algorithm>

namespace coro_doctor {

std::string dotted(std::string_view path) {
    std::string name(path);
    std::replace(name.begin(), name.end(), '/', '.');
    return name;
}

verdict fine(std::string advice) {
    return {severity::ok, std::move(advice)};
}
verdict note(std::string advice) {
    return {severity::note, std::move(advice)};
}
verdict warning(std::string advice) {
    return {severity::warning, std::move(advice)};
}
verdict problem(std::string advice) {
    return {severity::problem, std::move(advice)};
}

std::string connections_text(const machine& seen) {
    return std::to_string(seen.asked.connections) +
           (seen.asked.connections == 1 ? " connection" : " connections");
}

void say_unreadable(finding& row, const reading& file, std::string_view when_missing) {
    if (file.state == read_state::missing) {
        row.value = "unknown (no such file)";
        row.says = note(std::string(when_missing));
    } else if (file.state == read_state::refused) {
        row.value = "unknown (may not be read)";
        row.says = note("Run coro-doctor as a user who may read " + row.source + ".");
    } else {
        row.value = "unknown (" + file.why + ")";
        row.says = warning("Look why " + row.source + " cannot be read.");
    }
}

void say_garbage(finding& row, const reading& file) {
    row.value = "unknown (" + quoted(file.text) + ")";
    row.says = warning("No kernel writes this: look what is mounted over " + row.source + ".");
}

void add_variable(const machine& seen, const variable_row& row, std::vector<finding>& rows) {
    finding made;
    made.section = row.section;
    made.name = dotted(row.path);
    made.meaning = row.meaning;
    made.source = "/proc/sys/" + std::string(row.path);
    const reading file = seen.files.read(made.source);
    const auto numbers = numbers_of(file.text);
    if (!file.is_present()) {
        say_unreadable(made, file, row.when_missing);
    } else if (!numbers || numbers->size() != row.count) {
        say_garbage(made, file);
    } else {
        for (const std::uint64_t number : *numbers)
            made.value += (made.value.empty() ? "" : " ") + std::to_string(number);
        made.value += row.unit;
        made.numbers = *numbers;
        if (row.unit.starts_with(' ')) made.unit = row.unit.substr(1);
        made.says = row.judge(seen, *numbers);
    }
    rows.push_back(std::move(made));
}

}  // namespace coro_doctor
