// Says which fiber has overflowed its stack, before the signal does what it does.
#pragma once

#include <cstddef>

namespace coro { inline namespace v0 { namespace detail {

/// While one lives, a fault in the guard of the running fiber's stack is reported by a sentence
/// with the fiber's name on stderr. Then, as for all other faults, the handler of SIGSEGV from
/// before has its turn. Belongs to the thread of its loop, whose signal stack it supplies.
class overflow_watch {
public:
    overflow_watch() noexcept;
    overflow_watch(const overflow_watch&) = delete;
    overflow_watch& operator=(const overflow_watch&) = delete;
    ~overflow_watch();

private:
    static constexpr std::size_t signal_stack_bytes = 64 * 1024;

    void* signal_stack_ = nullptr;  ///< ours; nullptr when the thread had one already
    bool watching_ = false;         ///< false when there was no memory for one
};

}}}  // namespace coro::v0::detail
