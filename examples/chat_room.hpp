// chat_room: who is in the room of chat, and what is said there; the part without sockets.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <coro/coro.hpp>

/// One who is connected. Shared, because somebody may still speak to one who has just left.
struct member {
    static constexpr std::size_t most_unread = 64;

    explicit member(coro::task_group& both) : tasks(both) {}

    std::string name;
    coro::channel<std::string> unread{most_unread};  ///< lines that its connection has not taken
    coro::task_group& tasks;  ///< of its connection; there as long as the member is in the room
};
using member_handle = std::shared_ptr<member>;

/// What is said reaches all others. Whoever reads slowly holds up those who speak, so that nobody
/// misses a line; but for at most `patience`: who takes nothing for so long is put out.
class room {
public:
    static constexpr coro::duration patience = std::chrono::seconds(1);
    static constexpr std::size_t longest_name = 20;

    std::size_t size() const { return members_.size(); }

    /// A name that is taken, or empty, gets an underscore.
    void enter(const member_handle& who, std::string name) {
        if (name.size() > longest_name) name.resize(longest_name);
        while (name.empty() || is_taken(name)) name += '_';
        who->name = std::move(name);
        tell(who->name + " joined");
        members_.push_back(who);
    }

    void leave(const member_handle& who, const std::string& how) {
        who->unread.close();  // what is queued is still delivered
        if (std::erase(members_, who) != 0) tell(who->name + " " + how);
    }

    coro::task<> say(const member_handle& from, std::string line) {
        line = from->name + ": " + line + "\n";
        const std::vector<member_handle> present = members_;  // some may leave while this waits
        for (const member_handle& each : present) {
            if (each == from) continue;
            const auto sent = co_await coro::as_result(
                coro::with_timeout(patience, each->unread.send(line)));
            if (sent.has_value() || each->unread.is_closed()) continue;
            leave(each, "left: too slow");
            each->tasks.cancel();
        }
    }

private:
    bool is_taken(const std::string& name) const {
        return std::ranges::any_of(members_, [&](const auto& each) { return each->name == name; });
    }
    /// News is not worth waiting for: who has most_unread lines to read misses it.
    void tell(const std::string& news) {
        std::printf("* %s\n", news.c_str());
        for (const member_handle& each : members_)
            static_cast<void>(each->unread.try_send("* " + news + "\n"));
    }

    std::vector<member_handle> members_;
};
