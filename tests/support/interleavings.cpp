// How it works. The threads of a scenario are contexts of one real thread. Before each step on
// something shared (an atomic, a lock, a kernel flag) a thread says what it is about to do, and
// gives way; pick() decides who takes a step. Each decision that has alternatives is kept in a
// path: who goes next, and which of the values that the memory model allows a load answers. An
// execution is the function of its path, so the next one is made by taking the next alternative of
// the last decision that has one left: depth first, each once.
//
// Memory. An atomic keeps all its values in the order in which they were stored. A thread has a
// view: of each atomic the oldest value that it may still read, and of each thread how much of it
// has happened before. A store that releases carries the view of its thread, a load that acquires
// joins it to its own. A load may answer any value that the view does not forbid; a read-modify-
// write takes the last. The order of the sequentially consistent operations is that of execution:
// such a load may not answer what lies before a value that such an operation has stored or read, or
// that was known at a sequentially consistent fence. Plain variables remember who touched them
// when, and compare that with the view of who comes next.
//
// Which executions are left out. Without a bound of preemptions a thread sleeps that was tried
// before at the same place, until somebody does what its step depends on (sleep sets: the outcome
// could not differ). With a bound nothing sleeps, and a thread that may not be interrupted goes on.
//
// What it does not see. A store that takes its place before one that was executed earlier; a load
// that answers what is stored only later (load buffering); values out of thin air; a weak
// compare-exchange that fails for no reason; consume. So it finds fewer behaviours than the memory
// model allows, never more: what it reports is real.
#include "support/interleavings.hpp"

#include <ucontext.h>

#include <algorithm>
#include <array>
#include <map>

#include "core/sanitizers.hpp"
#include "core/stack_pool.hpp"

namespace coro_test::model {
namespace {

constexpr unsigned main_thread = most_threads - 1;
constexpr std::size_t stack_bytes = 64 * 1024;

bool acquires(std::memory_order order) {
    return order != std::memory_order_relaxed && order != std::memory_order_release;
}
bool releases(std::memory_order order) {
    return order == std::memory_order_release || order == std::memory_order_acq_rel ||
           order == std::memory_order_seq_cst;
}
bool is_total(std::memory_order order) { return order == std::memory_order_seq_cst; }

const char* text_of(std::memory_order order) {
    switch (order) {
        case std::memory_order_relaxed: return "relaxed";
        case std::memory_order_release: return "release";
        case std::memory_order_acq_rel: return "acq_rel";
        case std::memory_order_seq_cst: return "seq_cst";
        default: return "acquire";
    }
}

using positions = std::array<std::uint32_t, most_words>;
void raise_to(positions& lower, const positions& other) {
    for (unsigned i = 0; i < most_words; ++i) lower[i] = std::max(lower[i], other[i]);
}

struct view {
    positions oldest{};                               ///< by atomic: what may still be read
    std::array<std::uint32_t, most_threads> clock{};  ///< by thread: how much happened before

    void join(const view& other) {
        raise_to(oldest, other.oldest);
        for (unsigned i = 0; i < most_threads; ++i) clock[i] = std::max(clock[i], other.clock[i]);
    }
};

struct stored {
    std::uint64_t value = 0;
    view released;
};

/// A step that a thread is about to take.
struct step {
    unsigned on = most_words;  ///< a fence is on all
    bool writes = false;
    bool total = false;
    const unsigned* waits_for = nullptr;  ///< possible while that is not 0

    [[nodiscard]] bool depends_on(const step& other) const {
        if (on == most_words || other.on == most_words) return total && other.total;
        return on == other.on && (writes || other.writes || (total && other.total));
    }
};

struct decision {
    unsigned taken = 0;
    unsigned of = 0;
};

struct thread {
    ucontext_t context{};
    coro::detail::fiber_stack* stack = nullptr;  ///< nullptr: the real one
    coro::detail::stack_switch announced;
    bool begun = false;
    bool ended = false;
    step next;
    view seen;
    view at_release;   ///< at the last fence that releases
    view not_acquired;  ///< of what relaxed loads read, for a fence that acquires
};

class explorer {
public:
    explorer(const std::function<std::unique_ptr<scenario>()>& make, const limits& within);
    findings run();

    // --- for the words: a step is announced, then done
    void announce(const step& next);
    thread& me() { return threads_[current_]; }
    [[nodiscard]] unsigned current() const { return current_; }
    unsigned choose(unsigned of);
    unsigned new_word() {
        if (words_ == most_words) std::abort();
        history_[words_].clear();
        released_[words_] = {};
        return words_++;
    }
    void take_up(unsigned word, std::uint32_t index, std::memory_order order);
    void append(unsigned word, std::uint64_t value, std::memory_order order, const view* sequence);
    std::uint32_t oldest(unsigned word, bool total);
    void total_fence();
    void tick() { ++me().seen.clock[current_]; }
    void fail(std::string&& why);
    [[nodiscard]] bool is_tracing() const { return tracing_; }
    void note(const std::string& what);
    std::string text_of_value(std::uint64_t value);
    std::string name_of(unsigned word) const {
        return word < called_.words.size() ? called_.words[word] : "word " + std::to_string(word);
    }

    std::array<std::vector<stored>, most_words> history_;
    std::array<view, most_words> released_;  ///< by locks, when they were unlocked

private:
    void execute();
    void reset();
    void leave_unfinished();
    bool advance();
    unsigned pick();
    void switch_to(unsigned thread, bool last = false);
    static void begin_thread();

    const std::function<std::unique_ptr<scenario>()>& make_;
    const limits within_;
    coro::detail::stack_pool stacks_;
    std::array<thread, most_threads> threads_;
    std::unique_ptr<scenario> scenario_;
    names called_;
    unsigned count_ = 0;  ///< threads of the scenario
    unsigned words_ = 0;
    unsigned current_ = main_thread;

    std::vector<decision> path_;
    std::size_t depth_ = 0;  ///< decisions of this execution so far
    unsigned steps_ = 0;
    unsigned preemptions_ = 0;
    unsigned asleep_ = 0;  ///< a bit for each thread
    bool starting_ = false;
    bool repeats_ = false;
    positions total_{};   ///< the last value that a sequentially consistent operation met
    positions fenced_{};  ///< what was known at sequentially consistent fences
    findings found_;
    bool tracing_ = false;
    std::string trace_;
    std::map<std::uint64_t, unsigned> pointers_;
    const void* real_bottom_ = nullptr;
    std::size_t real_size_ = 0;
    void* const real_tsan_ = coro::detail::sanitizer_here();
};

explorer* running = nullptr;

explorer::explorer(const std::function<std::unique_ptr<scenario>()>& make, const limits& within)
    : make_(make), within_(within) {
    for (unsigned i = 0; i < main_thread; ++i) {
        threads_[i].stack = &stacks_.take(stack_bytes);
        ::getcontext(&threads_[i].context);
    }
}

findings explorer::run() {
    constexpr std::uint64_t few = 1000;
    const bool only_few = within_.few_where_slow && switches_are_slow;
    running = this;
    do {
        execute();
        ++(repeats_ ? found_.cut_short : found_.executions);
        if (!found_.failure.empty()) {
            // Once more, with a record.
            const std::string why = std::exchange(found_.failure, {});
            tracing_ = true;
            execute();
            found_.failure = why + "\n" + trace_;
            break;
        }
        found_.complete = !advance() || (only_few && found_.executions == few);
    } while (!found_.complete && found_.executions < within_.executions);
    running = nullptr;
    for (unsigned i = 0; i < main_thread; ++i) stacks_.give(*threads_[i].stack);
    return std::move(found_);
}

/// Turns the path into that of the next execution; false when there is none.
bool explorer::advance() {
    while (!path_.empty() && path_.back().taken + 1 == path_.back().of) path_.pop_back();
    if (path_.empty()) return false;
    ++path_.back().taken;
    return true;
}

unsigned explorer::choose(unsigned of) {
    if (of == 1) return 0;
    if (depth_ == path_.size()) path_.push_back({0, of});
    return path_[depth_++].taken;
}

void explorer::reset() {
    depth_ = steps_ = preemptions_ = asleep_ = words_ = 0;
    repeats_ = false;
    total_ = fenced_ = {};
    current_ = main_thread;
    threads_[main_thread].seen = {};
    threads_[main_thread].at_release = {};
    threads_[main_thread].not_acquired = {};
}

void explorer::execute() {
    reset();
    scenario_ = make_();
    if (count_ == 0) called_ = scenario_->called();
    count_ = static_cast<unsigned>(called_.threads.size());
    view& of_main = threads_[main_thread].seen;
    ++of_main.clock[main_thread];
    for (unsigned i = 0; i < count_; ++i) {
        thread& one = threads_[i];
        one.seen = of_main;
        one.seen.clock[i] = 1;
        one.at_release = one.not_acquired = {};
        one.begun = one.ended = false;
        one.context.uc_stack.ss_sp = one.stack->bottom;
        one.context.uc_stack.ss_size = one.stack->size;
        ::makecontext(&one.context, &begin_thread, 0);
        coro::detail::sanitizer_begin(one.stack->bottom, one.stack->size, one.stack->tsan);
    }
    // Each up to its first step: that much touches nobody.
    starting_ = true;
    for (unsigned i = 0; i < count_; ++i) switch_to(i);
    starting_ = false;
    if (found_.failure.empty())
        if (const unsigned first = pick(); first != main_thread) switch_to(first);
    leave_unfinished();
    if (!repeats_ && found_.failure.empty()) {
        for (unsigned i = 0; i < count_; ++i) of_main.join(threads_[i].seen);
        scenario_->check();
    }
    scenario_.reset();
}

/// The sanitizers forget the contexts of an execution.
void explorer::leave_unfinished() {
    thread& real = threads_[main_thread];
    for (unsigned i = 0; i < count_; ++i) {
        thread& one = threads_[i];
        if (!one.ended && coro::detail::switches_are_announced()) {
            real.announced.leave_to(one.stack->bottom, one.stack->size, one.stack->tsan, false);
            one.announced.back(nullptr, nullptr);
            one.announced.leave_to(real_bottom_, real_size_, real_tsan_, true);
            real.announced.back(nullptr, nullptr);
        }
        coro::detail::sanitizer_forget(one.stack->tsan);
    }
}

void explorer::begin_thread() {
    explorer& all = *running;
    thread& mine = all.me();
    const void* bottom = nullptr;
    std::size_t size = 0;
    coro::detail::stack_switch().back(&bottom, &size);
    if (all.starting_) {  // so it comes from the real stack
        all.real_bottom_ = bottom;
        all.real_size_ = size;
    }
    mine.begun = true;
    all.scenario_->run(all.current_);
    mine.ended = true;
    all.switch_to(all.starting_ ? main_thread : all.pick(), true);
}

void explorer::switch_to(unsigned thread_number, bool last) {
    thread& from = me();
    thread& to = threads_[thread_number];
    if (&from == &to) return;
    current_ = thread_number;
    if (to.stack != nullptr)
        from.announced.leave_to(to.stack->bottom, to.stack->size, to.stack->tsan, last);
    else from.announced.leave_to(real_bottom_, real_size_, real_tsan_, last);
    ::swapcontext(&from.context, &to.context);
    from.announced.back(nullptr, nullptr);
}

/// Who takes the next step; the main thread when the execution is at an end.
unsigned explorer::pick() {
    std::array<unsigned, most_threads> able{};
    unsigned count = 0;
    bool all_ended = true;
    bool goes_on = false;  // whoever is asked could
    const auto consider = [&](unsigned i) {
        const thread& one = threads_[i];
        all_ended = all_ended && one.ended;
        if (one.ended || (one.next.waits_for != nullptr && *one.next.waits_for == 0)) return;
        if (i == current_) goes_on = true;
        able[count++] = i;
    };
    if (current_ != main_thread) consider(current_);
    for (unsigned i = 0; i < count_; ++i)
        if (i != current_) consider(i);
    if (all_ended) return main_thread;
    if (count == 0) found_.failure = "nobody goes on: each thread that has not ended waits";
    else if (++steps_ > within_.steps) found_.failure = "it does not end";
    if (!found_.failure.empty()) return main_thread;
    if (within_.preemptions) {
        if (goes_on && preemptions_ == *within_.preemptions) count = 1;
    } else {
        const auto* const end = std::remove_if(able.begin(), able.begin() + count, [&](unsigned i) {
            return (asleep_ >> i & 1) != 0;
        });
        count = static_cast<unsigned>(end - able.begin());
        if (count == 0) {
            repeats_ = true;
            return main_thread;
        }
    }
    const unsigned taken = choose(count);
    const unsigned chosen = able[taken];
    if (goes_on && chosen != current_) ++preemptions_;
    for (unsigned i = 0; i < taken; ++i) asleep_ |= 1u << able[i];
    for (unsigned i = 0; i < count_; ++i)
        if (threads_[i].next.depends_on(threads_[chosen].next)) asleep_ &= ~(1u << i);
    return chosen;
}

void explorer::announce(const step& next) {
    if (current_ == main_thread) return;
    me().next = next;
    switch_to(starting_ ? main_thread : pick());
}

void explorer::fail(std::string&& why) {
    found_.failure = std::move(why);
    if (current_ != main_thread && me().begun) switch_to(main_thread);
}

// --- memory

void explorer::take_up(unsigned word, std::uint32_t index, std::memory_order order) {
    view& seen = me().seen;
    seen.oldest[word] = std::max(seen.oldest[word], index);
    const stored& from = history_[word][index];
    if (acquires(order)) seen.join(from.released);
    else me().not_acquired.join(from.released);
    if (is_total(order)) total_[word] = std::max(total_[word], index);
}

/// `sequence`: what the value that a read-modify-write took released, and so releases again.
void explorer::append(unsigned word, std::uint64_t value, std::memory_order order,
                      const view* sequence) {
    view& seen = me().seen;
    seen.oldest[word] = static_cast<std::uint32_t>(history_[word].size());
    if (is_total(order)) total_[word] = seen.oldest[word];
    view released = releases(order) ? seen : me().at_release;
    if (sequence != nullptr) released.join(*sequence);
    history_[word].push_back({value, released});
    tick();
}

std::uint32_t explorer::oldest(unsigned word, bool total) {
    const std::uint32_t known = me().seen.oldest[word];
    return total ? std::max({known, total_[word], fenced_[word]}) : known;
}

void explorer::total_fence() {
    view& seen = me().seen;
    raise_to(seen.oldest, total_);
    raise_to(seen.oldest, fenced_);
    raise_to(fenced_, seen.oldest);
}

// --- the record

void explorer::note(const std::string& what) {
    if (current_ == main_thread) return;
    trace_ += "  " + called_.threads[current_] + ": " + what + "\n";
}

std::string explorer::text_of_value(std::uint64_t value) {
    if (value < 4096) return std::to_string(value);
    const auto next = static_cast<unsigned>(pointers_.size() + 1);
    return "&" + std::to_string(pointers_.emplace(value, next).first->second);
}

}  // namespace

const bool switches_are_slow = coro::detail::switches_are_announced();

findings explore(const std::function<std::unique_ptr<scenario>()>& make, const limits& within) {
    return explorer(make, within).run();
}

void require(bool holds, const char* otherwise) {
    if (!holds) running->fail(otherwise);
}

void fence(std::memory_order order) {
    explorer& all = *running;
    if (is_total(order)) all.announce({.on = most_words, .writes = true, .total = true});
    thread& mine = all.me();
    if (acquires(order)) mine.seen.join(mine.not_acquired);
    if (is_total(order)) all.total_fence();
    if (releases(order)) {
        mine.at_release = mine.seen;
        all.tick();
    }
    if (all.is_tracing()) all.note(std::string("fence, ") + text_of(order));
}

word::word(std::uint64_t initial) : number_(running->new_word()) {
    running->history_[number_].push_back({initial, {}});
}

std::uint64_t word::load(std::memory_order order) const {
    explorer& all = *running;
    all.announce({.on = number_, .total = is_total(order)});
    const auto& history = all.history_[number_];
    const auto last = static_cast<std::uint32_t>(history.size() - 1);
    const std::uint32_t age = all.choose(last - all.oldest(number_, is_total(order)) + 1);
    all.take_up(number_, last - age, order);
    const std::uint64_t value = history[last - age].value;
    if (all.is_tracing())
        all.note(all.name_of(number_) + " is " + all.text_of_value(value) +
                 (age == 0 ? "" : ", an old value") + ", " + text_of(order));
    return value;
}

void word::store(std::uint64_t value, std::memory_order order) {
    explorer& all = *running;
    all.announce({.on = number_, .writes = true, .total = is_total(order)});
    all.append(number_, value, order, nullptr);
    if (all.is_tracing())
        all.note(all.name_of(number_) + " = " + all.text_of_value(value) + ", " + text_of(order));
}

std::uint64_t word::update(std::uint64_t (*change)(std::uint64_t before, std::uint64_t operand),
                           std::uint64_t operand, std::memory_order order) {
    explorer& all = *running;
    all.announce({.on = number_, .writes = true, .total = is_total(order)});
    const auto last = static_cast<std::uint32_t>(all.history_[number_].size() - 1);
    const stored before = all.history_[number_][last];
    all.take_up(number_, last, order);
    const std::uint64_t after = change(before.value, operand);
    all.append(number_, after, order, &before.released);
    if (all.is_tracing())
        all.note(all.name_of(number_) + " was " + all.text_of_value(before.value) + ", becomes " +
                 all.text_of_value(after) + ", " + text_of(order));
    return before.value;
}

bool word::compare_exchange(std::uint64_t& expected, std::uint64_t desired,
                            std::memory_order success, std::memory_order failure) {
    explorer& all = *running;
    all.announce({.on = number_, .writes = true, .total = is_total(success)});
    const auto& history = all.history_[number_];
    const auto last = static_cast<std::uint32_t>(history.size() - 1);
    // It succeeds by the last value only, and fails by any that differs.
    std::array<std::uint32_t, 64> able{last};
    unsigned count = 1;
    for (std::uint32_t i = last; i-- > all.oldest(number_, is_total(failure));)
        if (history[i].value != expected && count < able.size()) able[count++] = i;
    const std::uint32_t index = able[all.choose(count)];
    const stored met = history[index];
    const bool done = met.value == expected;
    all.take_up(number_, index, done ? success : failure);
    if (done) all.append(number_, desired, success, &met.released);
    if (all.is_tracing())
        all.note(all.name_of(number_) + " is " + all.text_of_value(met.value) +
                 (done ? ", becomes " + all.text_of_value(desired)
                       : ", not " + all.text_of_value(expected)) +
                 ", " + text_of(done ? success : failure));
    expected = met.value;
    return done;
}

void plain_access::read() const {
    explorer& all = *running;
    const auto& clock = all.me().seen.clock;
    if (written_ > clock[writer_]) all.fail("a data race: read what another thread writes");
    read_[all.current()] = clock[all.current()];
}

void plain_access::write() {
    explorer& all = *running;
    const auto& clock = all.me().seen.clock;
    if (written_ > clock[writer_]) all.fail("a data race: written by two threads");
    for (unsigned i = 0; i < most_threads; ++i)
        if (read_[i] > clock[i]) all.fail("a data race: written while another thread reads");
    writer_ = all.current();
    written_ = clock[writer_];
}

kernel_flag::kernel_flag() : number_(running->new_word()) {}

void kernel_flag::set() {
    explorer& all = *running;
    all.announce({.on = number_, .writes = true});
    set_ = 1;
    if (all.is_tracing()) all.note(all.name_of(number_) + " is set");
}

void kernel_flag::wait() {
    explorer& all = *running;
    if (all.is_tracing()) all.note("sleeps on " + all.name_of(number_));
    all.announce({.on = number_, .writes = true, .waits_for = &set_});
    set_ = 0;
    if (all.is_tracing()) all.note("is woken by " + all.name_of(number_));
}

bool kernel_flag::take() {
    explorer& all = *running;
    all.announce({.on = number_, .writes = true});
    const bool was_set = std::exchange(set_, 0u) != 0;
    if (all.is_tracing())
        all.note("looks at " + all.name_of(number_) + (was_set ? ", set" : ", not set"));
    return was_set;
}

mutex::mutex() : number_(running->new_word()) {}

void mutex::lock() {
    explorer& all = *running;
    all.announce({.on = number_, .writes = true, .waits_for = &free_});
    free_ = 0;
    all.me().seen.join(all.released_[number_]);
    if (all.is_tracing()) all.note("locks " + all.name_of(number_));
}

void mutex::unlock() {
    explorer& all = *running;
    all.announce({.on = number_, .writes = true});
    free_ = 1;
    all.released_[number_] = all.me().seen;
    all.tick();
    if (all.is_tracing()) all.note("unlocks " + all.name_of(number_));
}

}  // namespace coro_test::model
