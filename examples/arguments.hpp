// arguments: what stands on the command line of the classic programs. Whatever is wrong there ends
// the program with 2, after it was said what is wrong, why, and how the program is called.
#pragma once

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

/// Each reader takes what it reads; options first, then what has a place, then end().
class arguments {
public:
    /// `usage` begins with the name of the program.
    arguments(int count, char** values, const char* usage)
        : given_(values + 1, values + count), usage_(usage) {
        if (!flag("--help")) return;
        std::printf("usage: %s\n", usage_);
        std::exit(0);
    }

    bool flag(std::string_view name) { return std::erase(given_, name) != 0; }

    /// The number behind `name`, from `least` to `most`.
    double number(std::string_view name, double otherwise, double least, double most) {
        const std::optional<std::string> text = behind(name);
        if (!text) return otherwise;
        const std::optional<double> value = number_in<double>(*text);
        // Written so that "nan" is refused too.
        if (!value || !(*value >= least && *value <= most))
            refuse(name, *text,
                   "it must be a number from " + shortest(least) + " to " + shortest(most));
        return *value;
    }
    /// The same without a fraction.
    unsigned count(std::string_view name, unsigned otherwise, unsigned least, unsigned most) {
        const std::optional<std::string> text = behind(name);
        if (!text) return otherwise;
        const std::optional<unsigned> value = number_in<unsigned>(*text);
        if (!value || *value < least || *value > most)
            refuse(name, *text, "it must be a whole number from " + std::to_string(least) + " to " +
                                    std::to_string(most));
        return *value;
    }
    /// The same as a span of time, counted in a `Unit`.
    template <typename Unit>
    std::chrono::nanoseconds span(std::string_view name, double otherwise, double least,
                                  double most) {
        const std::chrono::duration<double, typename Unit::period> found(
            number(name, otherwise, least, most));
        return std::chrono::ceil<std::chrono::nanoseconds>(found);
    }
    /// The word behind `name`, which must be `what`.
    std::optional<std::string> text(std::string_view name, std::string_view what) {
        std::optional<std::string> found = behind(name);
        if (found && found->empty()) refuse(name, "", "it must be " + std::string(what));
        return found;
    }

    std::uint16_t port_to_listen(const char* name, std::optional<std::uint16_t> otherwise = {}) {
        return port(name, otherwise, 0);
    }
    std::uint16_t port_to_connect(const char* name, std::optional<std::uint16_t> otherwise = {}) {
        return port(name, otherwise, 1);
    }

    /// All that is left.
    std::vector<std::string> rest() {
        refuse_options();
        return std::exchange(given_, {});
    }
    /// Nothing may be left.
    void end() {
        refuse_options();
        if (!given_.empty()) refuse("the arguments", given_.front(), "it is one too many");
    }

    /// For what the program finds wrong itself.
    [[noreturn]] void refuse(std::string_view what, const std::string& text,
                             const std::string& why) const {
        std::string sentence(usage_, std::string_view(usage_).find(' '));
        sentence.append(": read ").append(what);
        if (text.empty()) sentence.append(": it is missing; ").append(why);
        else sentence.append(" \"" + text + "\": ").append(why);
        std::fprintf(stderr, "%s\nusage: %s\n", sentence.c_str(), usage_);
        std::exit(2);
    }

private:
    /// Takes both words; empty if there is no second one.
    std::optional<std::string> behind(std::string_view name) {
        const auto at = std::find(given_.begin(), given_.end(), name);
        if (at == given_.end()) return std::nullopt;
        const auto value = at + 1 == given_.end() ? at : at + 1;
        std::string text = value == at ? "" : std::move(*value);
        given_.erase(at, value + 1);
        return text;
    }
    template <typename Number>
    static std::optional<Number> number_in(std::string_view text) {
        Number value{};
        const char* const end = text.data() + text.size();
        const auto [stopped, error] = std::from_chars(text.data(), end, value);
        if (error != std::errc() || stopped != end) return std::nullopt;
        return value;
    }
    static std::string shortest(double value) {
        char text[32];
        return {text, std::to_chars(text, text + sizeof text, value).ptr};
    }

    std::uint16_t port(const char* name, std::optional<std::uint16_t> otherwise, unsigned least) {
        refuse_options();
        if (given_.empty() && otherwise) return *otherwise;
        const std::string text = given_.empty() ? "" : given_.front();
        const std::optional<unsigned> value = number_in<unsigned>(text);
        if (!value || *value < least || *value > 65535)
            refuse(name, text, "it must be a number from " + std::to_string(least) + " to 65535");
        given_.erase(given_.begin());
        return static_cast<std::uint16_t>(*value);
    }
    void refuse_options() const {
        for (const std::string& each : given_)
            if (each.starts_with("-")) refuse("the options", each, "there is no such option");
    }
    std::vector<std::string> given_;
    const char* usage_;
};
