// The report as one JSON object: RFC 8259.
#include <array>
#include <string_view>

#include "doctor/report.hpp"

namespace coro_doctor {
namespace {

/// A string of JSON. Bytes beyond ASCII, as a file name may have, become a letter each, so that it
/// is JSON whatever they are.
std::string text_value(std::string_view text) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string out = "\"";
    for (const char letter : text) {
        const auto code = static_cast<unsigned char>(letter);
        if (letter == '"' || letter == '\\') {
            out += '\\';
            out += letter;
        } else if (code < 0x20 || code >= 0x7f) {
            out += "\\u00";
            out += digits[code >> 4];
            out += digits[code & 15];
        } else {
            out += letter;
        }
    }
    return out + "\"";
}

/// An object that is written member by member, a member a line.
class object {
public:
    explicit object(std::size_t depth) : indent_(2 * depth, ' ') {}

    object& add(std::string_view name, std::string_view value_as_json) {
        members_ += (members_.empty() ? "" : ",") + std::string("\n") + indent_ + "  " +
                    text_value(name) + ": " + std::string(value_as_json);
        return *this;
    }
    object& text(std::string_view name, std::string_view value) {
        return add(name, text_value(value));
    }
    object& number(std::string_view name, std::uint64_t value) {
        return add(name, std::to_string(value));
    }
    object& flag(std::string_view name, bool value) { return add(name, value ? "true" : "false"); }

    [[nodiscard]] std::string json() const { return "{" + members_ + "\n" + indent_ + "}"; }

private:
    std::string indent_;
    std::string members_;
};

std::string list_of(const std::vector<std::string>& values) {
    std::string out = "[";
    for (const std::string& value : values)
        out += (out.size() == 1 ? "" : ", ") + value;
    return out + "]";
}

std::string json_of_row(const finding& row) {
    std::vector<std::string> numbers;
    for (const std::uint64_t number : row.numbers)
        numbers.push_back(number == unlimited ? "null" : std::to_string(number));
    return object(2)
        .text("section", row.section)
        .text("name", row.name)
        .text("value", row.value)
        .add("numbers", list_of(numbers))
        .text("unit", row.unit)
        .text("meaning", row.meaning)
        .text("severity", name_of(row.says.level))
        .text("advice", row.says.advice)
        .text("source", row.source)
        .json();
}

std::string json_of_need(const need& it) {
    object made(2);
    made.text("name", it.name)
        .text("unit", it.in_bytes ? "bytes" : "count")
        .number("asked", it.asked)
        .number("million", it.million)
        .add("here", it.is_limited ? std::to_string(it.here) : "null")
        .flag("here_is_known", !it.is_unknown)
        .text("meaning", it.meaning)
        .text("severity", name_of(it.says.level))
        .text("advice", it.says.advice);
    return made.json();
}

std::string json_of_question(const question& asked) {
    return object(1)
        .number("connections", asked.connections)
        .number("loops", asked.loops)
        .flag("fibers", asked.fibers)
        .number("bytes_user", asked.bytes_user)
        .json();
}

}  // namespace

std::string json_of(const report& all) {
    std::vector<std::string> rows;
    for (const finding& row : all.rows) {
        if (!all.asked.brief || row.says.level != severity::ok) rows.push_back(json_of_row(row));
    }
    std::vector<std::string> needs;
    for (const need& it : all.needs)
        needs.push_back(json_of_need(it));
    object made(0);
    if (all.asked.process != 0) {
        object sockets(1);
        for (const auto& [state, count] : all.sockets)
            sockets.number(state, count);
        made.number("pid", all.asked.process)
            .text("process", all.process)
            .add("sockets", all.sockets.empty() ? "{}" : sockets.json());
    }
    made.text("version", version_text())
        .text("kernel", all.kernel);
    // The census of a process judges no connections.
    if (all.asked.process == 0 || all.asked.tell_needs)
        made.add("judged_for", json_of_question(all.asked));
    made.text("severity", name_of(worst_of(all)))
        .add("rows", list_of(rows));
    if (!needs.empty()) made.add("needs", list_of(needs));
    return made.json() + "\n";
}

}  // namespace coro_doctor
