// connection_count: how many connections a client has opened, and how many at once.
#pragma once

#include <algorithm>
#include <utility>

struct connection_count {
    unsigned opened = 0;
    unsigned open = 0;
    unsigned most_open = 0;
};

/// A member of what is counted, from its greeting to its end.
class counted {
public:
    explicit counted(connection_count& in) noexcept : in_(&in) {
        ++in.opened;
        in.most_open = std::max(in.most_open, ++in.open);
    }
    counted(counted&& other) noexcept : in_(std::exchange(other.in_, nullptr)) {}
    counted& operator=(counted&& other) noexcept {
        std::swap(in_, other.in_);
        return *this;
    }
    ~counted() {
        if (in_ != nullptr) --in_->open;
    }

private:
    connection_count* in_;
};
