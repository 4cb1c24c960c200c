// The synchronous client of hiredis: one connection, and a request when the last one is answered.
// Prints `requests N NANOSECONDS CPU_NANOSECONDS`.
#include "common/arguments.hpp"
#include "common/cpu_time.hpp"
#include "common/failure.hpp"

#include <hiredis/hiredis.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <string>

int main(int argc, char** argv) {
    using perf::option;
    constexpr option port{"port", "P", "port of a Redis on 127.0.0.1"};
    constexpr option seconds{"seconds", "S", "length of the window (0.3)"};
    constexpr std::array known{port, seconds};
    const perf::arguments given("hiredis_sync", known, argc, argv);
    const auto where = static_cast<int>(given.whole("port", 6379, 1, 65535));
    const double span = given.real("seconds", 0.3, 0.001, 3600);

    redisContext* const server = redisConnect("127.0.0.1", where);
    if (server == nullptr || server->err != 0)
        perf::fail("connect to 127.0.0.1:" + std::to_string(where) + ": it is no Redis; start one");
    const perf::process_clock clock(getpid());
    const std::int64_t cpu = clock.nanoseconds();
    const std::int64_t start = perf::monotonic_nanoseconds();
    std::int64_t now = start;
    std::uint64_t requests = 0;
    while (now - start < static_cast<std::int64_t>(span * 1e9)) {
        const std::string word = std::to_string(requests++);
        const char* words[] = {"ECHO", word.c_str()};
        auto* const reply = static_cast<redisReply*>(
            redisCommandArgv(server, 2, static_cast<const char**>(words), nullptr));
        if (reply == nullptr || reply->type != REDIS_REPLY_STRING || word != reply->str)
            perf::fail("read a reply: it is of another request");
        freeReplyObject(reply);
        now = perf::monotonic_nanoseconds();
    }
    std::printf("requests %llu %lld %lld\n", static_cast<unsigned long long>(requests),
                static_cast<long long>(now - start),
                static_cast<long long>(clock.nanoseconds() - cpu));
    redisFree(server);
}
