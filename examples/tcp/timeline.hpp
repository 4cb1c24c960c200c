// timeline: what really happened during one question about TCP, printed as it happens, and the
// claims that follow from it, each with whether it was seen.
#pragma once

#include <chrono>
#include <cstdio>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "errors.hpp"

namespace tcp_truth {

class timeline {
public:
    using clock = std::chrono::steady_clock;
    using milliseconds = std::chrono::duration<double, std::milli>;

    timeline() {
        std::setvbuf(stdout, nullptr, _IOLBF, 0);
        std::printf("%9s  %-8s  %s\n", "ms", "actor", "event");
    }

    /// Prints a row: the time since begin, who did something or met something, and what.
    void at(const char* actor, const std::string& event) const {
        std::printf("%9.1f  %-8s  %s\n", since_begin().count(), actor, event.c_str());
    }
    /// Prints a line of a table or of a picture, which has no time.
    void draw(const std::string& line) const { std::printf("%s\n", line.c_str()); }

    [[nodiscard]] milliseconds since_begin() const { return clock::now() - begin_; }

    /// Whether a claim of the page was seen. It is printed behind the last row. The sentence has no
    /// figure that differs from run to run: the test looks for it on the page.
    void holds(std::string sentence, bool seen) { claims_.emplace_back(std::move(sentence), seen); }

    /// Prints the claims; 1 when one was not seen, or there is none, and 0 otherwise.
    [[nodiscard]] int finish() const {
        bool all = !claims_.empty();
        std::printf("\n");
        for (const auto& [sentence, seen] : claims_) {
            std::printf("%s  %s\n", seen ? "yes" : "NO ", sentence.c_str());
            all = all && seen;
        }
        return all ? 0 : 1;
    }

private:
    clock::time_point begin_ = clock::now();
    std::vector<std::pair<std::string, bool>> claims_;
};

/// Looks once a millisecond until `seen()` is true. A busy machine takes as long as it likes; only
/// what has not come after 30 s will never come: an exception, which names `what`.
template <typename Seen>
void until(std::string_view what, Seen seen) {
    using namespace std::chrono_literals;
    const auto end = timeline::clock::now() + 30s;
    while (!seen()) {
        if (timeline::clock::now() > end)
            throw not_seen("waited 30 s in vain until " + std::string(what));
        std::this_thread::sleep_for(1ms);
    }
}

/// "3 bytes", "1 byte".
inline std::string count_of(std::size_t number, const std::string& noun) {
    return std::to_string(number) + " " + noun + (number == 1 ? "" : "s");
}

/// "1.50": with so many digits behind the point.
inline std::string decimal(double value, int digits = 1) {
    char text[64];
    std::snprintf(text, sizeof text, "%.*f", digits, value);
    return text;
}

}  // namespace tcp_truth
