// A server of a table that all its loops share: each message of 64 bytes names an entry, which is
// counted up under a lock, and comes back. What kind of lock it is, --lock says.
#include "contenders/coro_server.hpp"

#include <charconv>
#include <cstdint>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

namespace {

constexpr std::size_t message_bytes = 64;
constexpr unsigned keys = 1000;

struct shared_table {
    std::map<std::string, long, std::less<>> entries;
    coro::mutex across_awaits;
    std::mutex between_awaits;

    void count(std::string_view key) {
        const auto found = entries.find(key);
        if (found != entries.end()) ++found->second;
        else entries.emplace(key, 1);
    }
};

/// The key that a message names: the generator sends numbers.
class key_of {
public:
    explicit key_of(coro::const_bytes message) {
        std::uint32_t number = 0;
        std::memcpy(&number, message.data(), sizeof number);
        end_ = std::to_chars(text_.data() + 4, text_.data() + text_.size(), number % keys).ptr;
    }
    [[nodiscard]] std::string_view text() const {
        return {text_.data(), static_cast<std::size_t>(end_ - text_.data())};
    }

private:
    std::array<char, 16> text_{'k', 'e', 'y', ':'};
    const char* end_;
};

coro::task<> serve_table(coro::net::tcp_stream& peer, shared_table& all, bool standard) {
    coro::net::buffered_stream in(peer);
    coro::net::buffered_writer out(peer);
    for (;;) {
        const coro::const_bytes message = co_await in.read_exact(message_bytes);
        const key_of key(message);
        if (standard) {
            const std::lock_guard lock(all.between_awaits);
            all.count(key.text());
        } else {
            const auto lock = co_await all.across_awaits.lock();
            all.count(key.text());
        }
        co_await out.write(message);
    }
}

}  // namespace

int main(int argc, char** argv) {
    bool standard = false;
    int kept = 1;
    for (int i = 1; i < argc; ++i) {
        if (std::string_view(argv[i]) == "--std") standard = true;
        else argv[kept++] = argv[i];
    }
    shared_table all;
    const auto handler = [&all, standard](coro::net::tcp_stream peer) -> coro::task<> {
        co_await serve_table(peer, all, standard);
    };
    return perf::run_coro_server("coro_table", handler, kept, argv);
}
