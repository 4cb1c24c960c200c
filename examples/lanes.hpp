// lanes: what shared_connection_demo shows: a clock that can run faster, a line for each thing as
// it happens, and at the end a picture of it all with one lane per connection.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <coro/coro.hpp>

/// When each message was sent, served and answered, in seconds since the beginning, as a picture:
///
///     seconds              0         1         2         3
///     ---------------------+---------+---------+---------+
///     connection A   A123  []        |         |         |
///                    A456  |         [###################]
///                    A789  |         |         [.........]
///     ---------------------+---------+---------+---------+
class lanes {
public:
    void sent(const std::string& connection, const std::string& text, double at) {
        messages_.push_back({connection, text, at, {}, {}});
    }
    void begun(const std::string& text, double at) {
        if (message* const found = find(text)) found->begun = at;
    }
    void answered(const std::string& text, double at) {
        if (message* const found = find(text)) found->answered = at;
    }

    void draw() const {
        std::string axis = "seconds";
        for (int second = 0; second <= last_second(); ++second) {
            axis.resize(column(second), ' ');
            axis += std::to_string(second);
        }
        std::printf("\n%s\n", axis.c_str());
        std::vector<std::string> drawn;
        for (const message& first : messages_) {
            if (std::ranges::find(drawn, first.connection) != drawn.end()) continue;
            drawn.push_back(first.connection);
            std::printf("%s\n", grid("", '-', '+').c_str());
            std::string title = "connection " + first.connection;  // in the first row of its lane
            for (const message& each : messages_)
                if (each.connection == first.connection)
                    std::printf("%s\n", row(each, std::exchange(title, "")).c_str());
        }
        std::printf("%s\n", grid("", '-', '+').c_str());
        std::printf("[ sent   . waits for its turn   # is being served   ] answered\n\n");
    }

private:
    static constexpr std::size_t text_column = 15;
    static constexpr std::size_t margin = 21;
    static constexpr int columns_a_second = 10;
    static constexpr int most_seconds = 12;  ///< where a machine was stuck the picture is cut

    struct message {
        std::string connection;
        std::string text;
        double sent;
        std::optional<double> begun;
        std::optional<double> answered;
    };

    message* find(const std::string& text) {
        for (message& each : messages_)
            if (each.text == text) return &each;
        return nullptr;  // from a client that is none of ours
    }
    [[nodiscard]] int last_second() const {
        double last = 0;
        for (const message& each : messages_) last = std::max(last, each.answered.value_or(0));
        return static_cast<int>(std::lround(std::min<double>(last, most_seconds)));
    }
    [[nodiscard]] std::size_t column(double second) const {
        const double inside = std::clamp(second, 0.0, last_second() + 0.5);
        return margin + static_cast<std::size_t>(std::lround(inside * columns_a_second));
    }
    /// `left`, and then the lines of the seconds.
    [[nodiscard]] std::string grid(std::string left, char fill, char line) const {
        for (int second = 0; second <= last_second(); ++second) {
            left.resize(column(second), fill);
            left += line;
        }
        return left;
    }
    [[nodiscard]] std::string row(const message& shown, std::string title) const {
        title.resize(text_column, ' ');
        std::string line = grid(title + shown.text, ' ', '|');
        if (!shown.begun || !shown.answered) return line;
        const std::size_t from = column(shown.sent);
        const std::size_t begun = column(*shown.begun);
        const std::size_t to = std::max(column(*shown.answered), from + 1);
        line.resize(std::max(line.size(), to + 1), ' ');
        line[from] = '[';
        for (std::size_t at = from + 1; at < to; ++at) line[at] = at < begun ? '.' : '#';
        line[to] = ']';
        return line;
    }

    std::vector<message> messages_;
};

/// What one run shows: a log as it happens, and then the lanes. Its seconds count from
/// start_clock(); with speed 10 they are ten times as short.
class stage {
public:
    stage(const char* title, double speed) : title_(title), speed_(speed) {}

    void begin(const coro::net::endpoint& server) {
        std::printf("== %s\nlistening %s\n", title_, server.to_string().c_str());
    }
    void start_clock() { start_ = coro::now(); }
    coro::task<> until(double second) const { co_await coro::sleep_until(start_ + span(second)); }
    coro::task<> sleep(double seconds) const { co_await coro::sleep_for(span(seconds)); }

    void sent(const std::string& connection, const std::string& text) {
        lanes_.sent(connection, text, log("connection " + connection, "send", text));
    }
    void received(const std::string& peer, const std::string& text) {
        lanes_.begun(text, log(peer, "recv", text));
    }
    void answered(const std::string& connection, const std::string& text) {
        lanes_.answered(text, log("connection " + connection, "echo", text));
    }

    void end() {
        lanes_.draw();
        over_ = true;
    }
    [[nodiscard]] bool is_over() const { return over_; }

private:
    [[nodiscard]] coro::duration span(double seconds) const {
        return std::chrono::ceil<coro::duration>(std::chrono::duration<double>(seconds / speed_));
    }
    /// `[ip:port] [recv] HH:MM:SS - text`; returns the second.
    double log(const std::string& who, const char* what, const std::string& text) const {
        const coro::duration passed = coro::now() - start_;
        const double at = std::chrono::duration<double>(passed).count() * speed_;
        const auto second = static_cast<unsigned>(at + 1e-6);  // 0.9999999 is rounding
        std::printf("%-17s [%s] %02u:%02u:%02u - %s\n", ("[" + who + "]").c_str(), what,
                    second / 3600, second / 60 % 60, second % 60, text.c_str());
        return at;
    }

    const char* title_;
    double speed_;
    coro::time_point start_{};
    lanes lanes_;
    bool over_ = false;
};
