// Drivers of what is awaited around something else: deadlines, scopes, groups, when_all, when_any.
#include <optional>
#include <stop_token>
#include <string>

#include <coro/core/when_all.hpp>
#include <coro/core/when_any.hpp>
#include <coro/core/with_cancel_scope.hpp>
#include <coro/runtime/channel.hpp>
#include <coro/runtime/stop_token.hpp>
#include <coro/runtime/with_cleanup.hpp>

#include "matrix_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

/// What the awaitable inside is: an operation, a task around it, or a read from a socket.
enum class inner : std::uint8_t { operation, task, socket };

/// A wait for an item (by the channel) or for a byte (by the stream), which must not get lost.
class combinator_driver : public driver {
public:
    task<> prepare(ending) override {
        if (what_ == inner::socket) co_await pair_.open();
    }
    task<> complete() override {
        ++given_;
        if (what_ == inner::socket) co_await net::write_all(pair_.far, as_bytes("x"));
        else check(numbers_.try_send(1), "the channel has no room");
    }
    task<> verify(const outcome& ended) override {
        if (!ended.is(outcome_kind::value)) check(taken_ == 0, "something was taken all the same");
        if (what_ == inner::socket) pair_.far.shutdown_send();
        else numbers_.close();
        for (int before = -1; before != taken_;) {
            before = taken_;
            co_await wait();
        }
        check(taken_ == given_, std::to_string(given_) + " were given, " +
                                    std::to_string(taken_) + " came");
    }

protected:
    explicit combinator_driver(inner what) : what_(what) {}

    /// The wait as a task.
    task<> wait() {
        bool came = false;  // g++ 12.2 miscompiles `if (co_await …)` in a body without variables
        if (what_ == inner::socket) {
            const std::size_t n = co_await pair_.near.read_some(mutable_bytes(one_));
            came = n != 0;
        } else {
            const std::optional<int> item = co_await numbers_.receive();
            came = item.has_value();
        }
        if (came) ++taken_;
    }

    inner what_;
    channel<int> numbers_{8};
    stream_pair pair_;
    std::array<std::byte, 1> one_{};
    int given_ = 0;
    int taken_ = 0;
};

/// A combinator around one awaitable: `Call::over(awaitable, span)`. Its own limit, if it has one,
/// is far away, but near in the cases of ending::peer_reset, if Call::own_limit.
template <typename Call>
class around_driver final : public combinator_driver {
public:
    explicit around_driver(inner what) : combinator_driver(what) {}

    task<> prepare(ending how) override {
        co_await combinator_driver::prepare(how);
        if (ends_by_itself(how)) span_ = 3ms;
    }
    [[nodiscard]] bool ends_by_itself(ending how) const override {
        return Call::own_limit && how == ending::peer_reset;
    }
    task<> operate() override {
        if (what_ == inner::operation) {
            auto answer = co_await Call::over(numbers_.receive(), span_);
            if (Call::has_item(answer)) ++taken_;
        } else {
            static_cast<void>(co_await Call::over(wait(), span_));
        }
    }
    task<> reset() override {
        if (!Call::own_limit) co_await complete();
    }
    [[nodiscard]] bool shielded() const override { return Call::shields; }
    [[nodiscard]] bool documented(const case_kind& kind, const outcome& ended) const override {
        if (Call::own_limit && Call::throws_limit && kind.how == ending::peer_reset)
            return ended.is(outcome_kind::error) && ended.error == errc::deadline_exceeded;
        // The stop that comes before the cancellation ended the wait.
        if (Call::ends_at_stop && kind.how == ending::shutdown && ended.is(outcome_kind::value))
            return true;
        return driver::documented(kind, ended);
    }

private:
    duration span_ = 1h;
};

/// What most combinators are: no limit, no shield, the answer of the awaitable itself.
struct plain_call {
    static constexpr bool own_limit = false;
    static constexpr bool throws_limit = true;
    static constexpr bool shields = false;
    static constexpr bool ends_at_stop = false;
    static bool has_item(const std::optional<int>& answer) { return answer.has_value(); }
};
struct call_as_result : plain_call {
    template <typename Awaitable>
    static auto over(Awaitable&& awaitable, duration) {
        return as_result(std::forward<Awaitable>(awaitable));
    }
    static bool has_item(result<std::optional<int>>& answer) {
        return answer.has_value() && (*answer).has_value();
    }
};
struct call_with_timeout : plain_call {
    static constexpr bool own_limit = true;
    template <typename Awaitable>
    static auto over(Awaitable&& awaitable, duration span) {
        return with_timeout(span, std::forward<Awaitable>(awaitable));
    }
};
struct call_with_deadline : plain_call {
    static constexpr bool own_limit = true;
    template <typename Awaitable>
    static auto over(Awaitable&& awaitable, duration span) {
        return with_deadline(now() + span, std::forward<Awaitable>(awaitable));
    }
};
struct call_move_on_after : plain_call {
    static constexpr bool own_limit = true;
    static constexpr bool throws_limit = false;
    template <typename Awaitable>
    static auto over(Awaitable&& awaitable, duration span) {
        return move_on_after(span, std::forward<Awaitable>(awaitable));
    }
    static bool has_item(const std::optional<std::optional<int>>& answer) {
        return answer && *answer;
    }
};
struct call_shield : plain_call {
    static constexpr bool own_limit = true;
    static constexpr bool shields = true;
    template <typename Awaitable>
    static auto over(Awaitable&& awaitable, duration span) {
        return shield(std::forward<Awaitable>(awaitable), span);
    }
};
struct call_until_stop : plain_call {
    static constexpr bool ends_at_stop = true;
    template <typename Awaitable>
    static auto over(Awaitable&& awaitable, duration) {
        return until_stop(std::forward<Awaitable>(awaitable));
    }
    static bool has_item(const std::optional<std::optional<int>>& answer) {
        return answer && *answer;
    }
};
/// On a stack of its own, which is what waits.
struct call_fiber : plain_call {
    template <typename Awaitable>
    static auto over(Awaitable&& awaitable, duration) {
        return fiber([&awaitable] { return await(std::forward<Awaitable>(awaitable)); });
    }
};

/// The stop that it listens to stands for the reset: it answers "nothing" then.
class stop_token_driver final : public combinator_driver {
public:
    explicit stop_token_driver(inner what) : combinator_driver(what) {}

    task<> operate() override {
        if (what_ == inner::operation) {
            const auto item = co_await with_stop_token(source_.get_token(), numbers_.receive());
            if (item && *item) ++taken_;
            answered_ = item.has_value();
        } else {
            answered_ = co_await with_stop_token(source_.get_token(), wait());
        }
    }
    task<> reset() override {
        source_.request_stop();
        co_return;
    }
    task<> verify(const outcome& ended) override {
        if (source_.stop_requested()) check(!answered_, "a value in spite of the stop");
        co_await combinator_driver::verify(ended);
    }

private:
    std::stop_source source_;
    bool answered_ = false;
};

class stop_source_driver final : public combinator_driver {
public:
    explicit stop_source_driver(inner what) : combinator_driver(what) {}

    task<> operate() override {
        if (what_ == inner::operation) {
            const auto item = co_await with_stop_source(source_, numbers_.receive());
            if (item) ++taken_;
        } else {
            co_await with_stop_source(source_, wait());
        }
    }
    task<> verify(const outcome& ended) override {
        co_await sleep_for(1ms);  // the request goes through the inbox
        if (ended.is(outcome_kind::cancelled))
            check(source_.stop_requested(), "the cancellation did not reach the stop source");
        co_await combinator_driver::verify(ended);
    }

private:
    std::stop_source source_;
};

class cancel_scope_driver final : public combinator_driver {
public:
    explicit cancel_scope_driver(inner what) : combinator_driver(what) {}

    task<> operate() override {
        const auto body = [this](cancel_scope& scope) -> task<> {
            const known_scope known(scope_, scope);
            co_await wait();
        };
        const bool whole = co_await with_cancel_scope(body);
        check(whole != own_, "with_cancel_scope answers whether its body ended by itself");
    }
    /// Its own scope cancels it, and it goes on with "nothing".
    task<> reset() override {
        own_ = true;
        if (scope_ != nullptr) scope_->cancel();
        co_return;
    }
    task<> verify(const outcome& ended) override { co_await combinator_driver::verify(ended); }

private:
    cancel_scope* scope_ = nullptr;
    bool own_ = false;
};

enum class stage : std::uint8_t { body, join, after };

/// In the body, at its own join, or at the end with the body already over.
class task_group_driver final : public combinator_driver {
public:
    explicit task_group_driver(stage where)
        : combinator_driver(where == stage::body ? inner::operation : inner::socket),
          where_(where) {}

    task<> operate() override {
        const auto body = [this](task_group& group) -> task<int> {
            group.spawn(child());
            if (where_ == stage::body) co_await wait();
            if (where_ == stage::join) co_await group.join();
            co_return 7;
        };
        const int answer = co_await with_task_group(body);
        check(answer == 7, "another value than that of the body");
    }
    task<> complete() override {
        over_.set();
        co_await combinator_driver::complete();
    }
    task<> verify(const outcome& ended) override {
        check(children_ended_ == 1, "the group ended before its child");
        if (where_ == stage::body) {
            co_await combinator_driver::verify(ended);
            co_return;
        }
        // A child's read may have had its byte although the group ended otherwise.
        co_await combinator_driver::verify({outcome_kind::value, {}, 0});
    }
    /// At the end the body is over, and its value stands.
    [[nodiscard]] bool documented(const case_kind& kind, const outcome& ended) const override {
        if (where_ == stage::after) return ended.is(outcome_kind::value);
        return driver::documented(kind, ended);
    }

private:
    task<> child() {
        const counter on_end(children_ended_);
        if (where_ == stage::body) co_await over_.wait();
        else co_await wait();
    }
    struct counter {
        explicit counter(int& of) : ended(of) {}
        ~counter() { ++ended; }
        counter(const counter&) = delete;
        counter& operator=(const counter&) = delete;
        int& ended;
    };

    stage where_;
    event over_;
    int children_ended_ = 0;
};

/// In the body, or in the clean-up, which no cancellation reaches.
class cleanup_driver final : public combinator_driver {
public:
    explicit cleanup_driver(stage where) : combinator_driver(inner::operation), where_(where) {}

    task<> operate() override { co_await with_cleanup(body(), cleanup(), 1h); }
    [[nodiscard]] bool shielded() const override { return where_ == stage::after; }
    task<> verify(const outcome& ended) override {
        check(cleaned_ == 1, "the clean-up did not run once to its end");
        co_await combinator_driver::verify(ended);
    }

private:
    task<> body() {
        if (where_ == stage::body) co_await wait();
    }
    task<> cleanup() {
        if (where_ == stage::after) co_await wait();
        else co_await sleep_for(1ms);
        ++cleaned_;
    }

    stage where_;
    int cleaned_ = 0;
};

/// Two branches wait; complete() serves both. `list`: of tasks in a vector.
template <bool Any>
class when_driver final : public driver {
public:
    explicit when_driver(inner what) : list_(what == inner::task) {}

    task<> operate() override {
        if (list_) {
            std::vector<task<int>> branches;
            branches.push_back(wait(first_));
            branches.push_back(wait(second_));
            if constexpr (Any) {
                auto ended = co_await when_any(std::move(branches));
                taken_ += (ended.has_value(0) ? 1 : 0) + (ended.has_value(1) ? 1 : 0);
            } else {
                const std::vector<int> both = co_await when_all(std::move(branches));
                taken_ += static_cast<int>(both.size());
            }
        } else if constexpr (Any) {
            auto ended = co_await when_any(first_.receive(), second_.receive());
            const bool one = ended.template has_value<0>();
            check(one != ended.template has_value<1>(), "not one of the two took");
            ++taken_;
        } else {
            const auto [one, two] = co_await when_all(first_.receive(), second_.receive());
            taken_ += (one ? 1 : 0) + (two ? 1 : 0);
        }
    }
    task<> complete() override {
        check(first_.try_send(1) && second_.try_send(1), "a channel has no room");
        given_ += 2;
        co_return;
    }
    task<> verify(const outcome& ended) override {
        // when_all has no value to show for a branch that had one when another was cancelled.
        const bool may_lose = !Any && ended.is(outcome_kind::cancelled);
        for (channel<int>* const numbers : {&first_, &second_}) {
            numbers->close();
            while (const auto item = co_await numbers->receive()) taken_ += *item;
        }
        check(taken_ == given_ || (may_lose && taken_ < given_),
              std::to_string(given_) + " were given, " + std::to_string(taken_) + " came");
    }

private:
    static task<int> wait(channel<int>& numbers) {
        const std::optional<int> one = co_await numbers.receive();
        co_return one.value_or(0);
    }

    bool list_;
    channel<int> first_{4};
    channel<int> second_{4};
    int given_ = 0;
    int taken_ = 0;
};

/// A combinator in its three forms.
template <typename Driver>
void add_three(std::vector<point>& points, std::string_view operation) {
    points.push_back(make_point<Driver, inner::operation>(operation, "around an operation"));
    points.push_back(make_point<Driver, inner::task>(operation, "around a task"));
    points.push_back(make_point<Driver, inner::socket>(operation, "around a task that reads"));
}

}  // namespace

std::vector<point> combinator_points() {
    std::vector<point> points;
    add_three<around_driver<call_as_result>>(points, "coro::as_result");
    add_three<around_driver<call_with_timeout>>(points, "coro::with_timeout");
    add_three<around_driver<call_with_deadline>>(points, "coro::with_deadline");
    add_three<around_driver<call_move_on_after>>(points, "coro::move_on_after");
    add_three<around_driver<call_shield>>(points, "coro::shield");
    add_three<around_driver<call_fiber>>(points, "coro::fiber");
    add_three<around_driver<call_until_stop>>(points, "coro::until_stop");
    add_three<stop_token_driver>(points, "coro::with_stop_token");
    add_three<stop_source_driver>(points, "coro::with_stop_source");
    add_three<cancel_scope_driver>(points, "coro::with_cancel_scope");
    const auto add = [&points](point made) { points.push_back(made); };
    add(make_point<task_group_driver, stage::body>("coro::with_task_group", "in the body"));
    add(make_point<task_group_driver, stage::after>("coro::with_task_group", "at its end"));
    add(make_point<task_group_driver, stage::join>("coro::task_group::join", "in the body"));
    add(make_point<cleanup_driver, stage::body>("coro::with_cleanup", "in the body"));
    add(make_point<cleanup_driver, stage::after>("coro::with_cleanup", "in the clean-up"));
    add(make_point<when_driver<false>, inner::operation>("coro::when_all", "two operations"));
    add(make_point<when_driver<false>, inner::task>("coro::when_all", "a list of tasks"));
    add(make_point<when_driver<true>, inner::operation>("coro::when_any", "two operations"));
    add(make_point<when_driver<true>, inner::task>("coro::when_any", "a list of tasks"));
    return points;
}

}}}  // namespace coro::v0::detail::conformance
