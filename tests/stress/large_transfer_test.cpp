// One write_all of more than 4 GiB, over a real connection, to its last byte.
#include <sys/mman.h>

#include <vector>

#include <coro/coro.hpp>
#include <gtest/gtest.h>

namespace coro_test {
namespace {

constexpr std::size_t four_gib = std::size_t{1} << 32;

/// Zeros that take no memory: nobody writes to them.
class zeros {
public:
    explicit zeros(std::size_t size)
        : size_(size),
          begin_(::mmap(nullptr, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
                        0)) {
        EXPECT_NE(begin_, MAP_FAILED);
        static_cast<void>(::madvise(begin_, size_, MADV_HUGEPAGE));  // fewer faults; may be refused
    }
    zeros(const zeros&) = delete;
    zeros& operator=(const zeros&) = delete;
    ~zeros() { ::munmap(begin_, size_); }

    [[nodiscard]] coro::const_bytes all() const noexcept {
        return {static_cast<const std::byte*>(begin_), size_};
    }

private:
    std::size_t size_;
    void* begin_;
};

TEST(large_transfer, write_all_of_more_than_4_gib_loses_nothing) {
    const zeros out(four_gib + 12'345);
    std::size_t got = 0;
    const auto main = [&]() -> coro::task<> {
        using namespace coro::net;
        auto listener = tcp_listener::bind(endpoint::loopback(0));
        auto near = co_await tcp_stream::connect(listener.local_endpoint());
        auto far = co_await listener.accept();
        const auto writer = [&]() -> coro::task<> {
            co_await write_all(near, out.all());
            near.shutdown_send();
        };
        const auto reader = [&]() -> coro::task<> {
            std::vector<std::byte> buffer(256 * 1024);
            for (;;) {
                const std::size_t some = co_await far.read_some(buffer);
                if (some == 0) break;
                got += some;
            }
        };
        co_await coro::when_all(writer(), reader());
    };
    coro::run(main());
    EXPECT_EQ(got, out.all().size());
}

}  // namespace
}  // namespace coro_test
