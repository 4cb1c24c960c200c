// A model of threads and of their memory: runs a scenario again and again, each time in another of
// the ways in which the C++ memory model lets it happen, until none is left. What the library
// shares between threads is a template over the words it is made of (std_words); here are words
// that the checker watches. How it works, and what it does not see: interleavings.cpp.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace coro_test::model {

inline constexpr unsigned most_threads = 5;  ///< the one that prepares and checks included
inline constexpr unsigned most_words = 12;   ///< atomics, locks and kernel flags of a scenario

struct limits {
    /// How often a thread may lose its turn while it could go on; nothing: all interleavings, with
    /// those left out that differ only in the order of steps that do not touch each other.
    std::optional<unsigned> preemptions;
    std::uint64_t executions = 20'000'000;
    /// Where switches_are_slow, the first thousand executions stand for all.
    bool few_where_slow = false;
    unsigned steps = 400;  ///< of one execution: beyond that it is endless
};

/// What the trace calls things: atomics, locks and kernel flags in the order of their making.
struct names {
    std::vector<std::string> threads;
    std::vector<std::string> words;
};

/// Made anew for each execution. What its threads share are its members; they allocate nothing,
/// because an execution may be left in the middle.
class scenario {
public:
    scenario() = default;
    scenario(const scenario&) = delete;
    scenario& operator=(const scenario&) = delete;
    virtual ~scenario() = default;
    [[nodiscard]] virtual names called() const = 0;  ///< as many threads as it names
    virtual void run(unsigned thread) = 0;
    virtual void check() {}  ///< after the end of all threads
};

struct findings {
    std::uint64_t executions = 0;  ///< that were run to an end
    std::uint64_t cut_short = 0;   ///< that turned out to repeat others
    bool complete = false;         ///< none is left, or few_where_slow
    std::string failure;           ///< empty, or what went wrong and the steps that led there
};

/// Runs all executions, or up to the first that fails.
[[nodiscard]] findings explore(const std::function<std::unique_ptr<scenario>()>& make,
                               const limits& within = {});
template <typename Scenario>
[[nodiscard]] findings explore(const limits& within = {}) {
    return explore([] { return std::make_unique<Scenario>(); }, within);
}

/// Whether a sanitizer looks after each switch of a context: that makes an execution ten times as
/// long, and it has little to find in threads that are none. The other builds explore them all.
extern const bool switches_are_slow;

/// Ends the execution, and the exploration, with `otherwise` when `holds` is false.
void require(bool holds, const char* otherwise);
void fence(std::memory_order order);

// --- words

/// An atomic of 64 bits with all values that it ever had in this execution.
class word {
public:
    explicit word(std::uint64_t initial);
    [[nodiscard]] std::uint64_t load(std::memory_order order) const;
    void store(std::uint64_t value, std::memory_order order);
    /// Answers the value before; `change` makes the new one of it and of `operand`.
    std::uint64_t update(std::uint64_t (*change)(std::uint64_t before, std::uint64_t operand),
                         std::uint64_t operand, std::memory_order order);
    bool compare_exchange(std::uint64_t& expected, std::uint64_t desired,
                          std::memory_order success, std::memory_order failure);

private:
    unsigned number_;
};

/// The part of std::atomic that the library uses. It stays where it was made.
template <typename T>
class atomic {
public:
    explicit atomic(T initial) : word_(to_bits(initial)) {}
    atomic(const atomic&) = delete;
    atomic& operator=(const atomic&) = delete;

    [[nodiscard]] T load(std::memory_order order = std::memory_order_seq_cst) const {
        return from_bits(word_.load(order));
    }
    void store(T value, std::memory_order order = std::memory_order_seq_cst) {
        word_.store(to_bits(value), order);
    }
    T exchange(T value, std::memory_order order = std::memory_order_seq_cst) {
        return from_bits(word_.update([](std::uint64_t, std::uint64_t given) { return given; },
                                      to_bits(value), order));
    }
    T fetch_add(T value, std::memory_order order = std::memory_order_seq_cst) {
        return from_bits(
            word_.update([](std::uint64_t before, std::uint64_t given) { return before + given; },
                         to_bits(value), order));
    }
    T fetch_sub(T value, std::memory_order order = std::memory_order_seq_cst) {
        return from_bits(
            word_.update([](std::uint64_t before, std::uint64_t given) { return before - given; },
                         to_bits(value), order));
    }
    bool compare_exchange_strong(T& expected, T desired, std::memory_order success,
                                 std::memory_order failure) {
        std::uint64_t before = to_bits(expected);
        const bool done = word_.compare_exchange(before, to_bits(desired), success, failure);
        expected = from_bits(before);
        return done;
    }
    /// Never fails without a reason: that would only repeat the caller's round.
    bool compare_exchange_weak(T& expected, T desired, std::memory_order success,
                               std::memory_order failure) {
        return compare_exchange_strong(expected, desired, success, failure);
    }

private:
    static std::uint64_t to_bits(T value) {
        if constexpr (std::is_pointer_v<T>) return reinterpret_cast<std::uintptr_t>(value);
        else return static_cast<std::uint64_t>(value);
    }
    static T from_bits(std::uint64_t bits) {
        if constexpr (std::is_pointer_v<T>) return reinterpret_cast<T>(bits);
        else return static_cast<T>(bits);
    }
    word word_;
};

/// Who has touched a plain variable, and when.
class plain_access {
public:
    void read() const;
    void write();

private:
    std::uint32_t writer_ = most_threads - 1;
    std::uint32_t written_ = 0;
    mutable std::array<std::uint32_t, most_threads> read_{};
};

/// A plain variable: two accesses of which one writes, and none happens before the other, fail.
template <typename T>
class checked {
public:
    checked() = default;
    checked(T initial) : value_(std::move(initial)) {}  // as a plain variable is initialised
    checked(const checked&) = delete;
    operator T() const {
        access_.read();
        return value_;
    }
    T operator->() const { return static_cast<T>(*this); }
    checked& operator=(T value) {
        access_.write();
        value_ = std::move(value);
        return *this;
    }
    checked& operator=(const checked& other) { return *this = static_cast<T>(other); }

private:
    T value_{};
    plain_access access_;
};

/// What an eventfd is between those who write to it and the one who sleeps on it: it stays set
/// until somebody looks. It orders nothing else: what the kernel may give beyond that is not used.
class kernel_flag {
public:
    kernel_flag();
    void set();
    void wait();                ///< sleeps until it is set, and clears it
    [[nodiscard]] bool take();  ///< without sleeping; also what a sleep is that ends by itself

private:
    unsigned number_;
    unsigned set_ = 0;
};

class mutex {
public:
    mutex();
    void lock();
    void unlock();

private:
    unsigned number_;
    unsigned free_ = 1;
};

/// The words of the library, as the checker has them.
struct words {
    template <typename T>
    using atomic = model::atomic<T>;
    using mutex = model::mutex;
};

}  // namespace coro_test::model
