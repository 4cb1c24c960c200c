// address_table: how many connections each peer address has.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <utility>

#include <coro/net/address.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// Counts connections by net::endpoint::network(). One lock for each accept and each end: both make
/// system calls that take longer.
class address_table {
public:
    class place;

    explicit address_table(std::size_t most) noexcept : most_(most) {}
    address_table(const address_table&) = delete;
    address_table& operator=(const address_table&) = delete;

    /// A place of that address, given back at its end, on any thread; nothing if it has no more.
    /// Throws: std::bad_alloc.
    [[nodiscard]] std::optional<place> take(const net::endpoint& peer);

private:
    struct count {
        address_table* table;
        std::size_t held = 0;
    };
    using counts = std::unordered_map<net::endpoint, count>;

    const std::size_t most_;
    std::mutex lock_;
    counts held_;
};

/// One of them. Empty for a peer that is not counted. Must not outlive the table. One pointer,
/// since each idle connection pays for it.
class address_table::place {
public:
    place() noexcept = default;
    place(place&& other) noexcept : entry_(std::exchange(other.entry_, nullptr)) {}
    place& operator=(place&& other) noexcept {
        std::swap(entry_, other.entry_);
        return *this;
    }
    ~place() {
        if (entry_ == nullptr) return;
        address_table& table = *entry_->second.table;
        const std::lock_guard lock(table.lock_);
        if (--entry_->second.held == 0) table.held_.erase(entry_->first);
    }

private:
    friend class address_table;
    explicit place(counts::value_type& entry) noexcept : entry_(&entry) {}

    counts::value_type* entry_ = nullptr;  ///< an unordered_map never moves one
};

inline std::optional<address_table::place> address_table::take(const net::endpoint& peer) {
    const std::lock_guard lock(lock_);
    counts::value_type& entry = *held_.try_emplace(peer.network(), count{this}).first;
    if (entry.second.held >= most_) return std::nullopt;  // most_ is 1 at least: it was there
    ++entry.second.held;
    return place(entry);
}

}}}  // namespace coro::v0::detail
