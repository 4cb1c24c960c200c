// A world whose clock jumps when a test says so, as it does for a loop that was stopped or held.
#pragma once

#include <algorithm>
#include <memory>
#include <utility>

#include "runtime/make_poller.hpp"
#include "support/forwarding_poller.hpp"

namespace coro { inline namespace v0 { namespace detail {

class stalling_poller final : public forwarding_poller {
public:
    struct record {
        duration stalled{};      ///< how much later it is than in the world behind
        unsigned looks = 0;      ///< at moved bytes since the last wait()
        unsigned most_looks = 0; ///< between two of them
        unsigned all_looks = 0;
    };

    stalling_poller(std::unique_ptr<poller> world, record& of)
        : forwarding_poller(std::move(world)), record_(of) {}

    [[nodiscard]] time_point now() noexcept override {
        return forwarding_poller::now() + record_.stalled;
    }
    void wait(time_point deadline, operation_list& completed) noexcept override {
        record_.looks = 0;
        const bool has_end = deadline != never && deadline != time_point::min();
        forwarding_poller::wait(has_end ? deadline - record_.stalled : deadline, completed);
    }
    int moved_bytes(detail::handle socket, std::uint64_t& out) noexcept override {
        ++record_.all_looks;
        record_.most_looks = std::max(record_.most_looks, ++record_.looks);
        return forwarding_poller::moved_bytes(socket, out);
    }

private:
    record& record_;
};

/// While it lives, pollers are made so. One loop at a time.
class stalling {
public:
    stalling() {
        present() = &seen;
        wrap_poller = [](std::unique_ptr<poller> world) -> std::unique_ptr<poller> {
            return std::make_unique<stalling_poller>(std::move(world), *present());
        };
    }
    stalling(const stalling&) = delete;
    stalling& operator=(const stalling&) = delete;
    ~stalling() { wrap_poller = nullptr; }

    /// As if the thread had done nothing for `span`.
    void stand_still(duration span) noexcept { seen.stalled += span; }

    stalling_poller::record seen;

private:
    static stalling_poller::record*& present() noexcept {
        static stalling_poller::record* record = nullptr;
        return record;
    }
};

}}}  // namespace coro::v0::detail
