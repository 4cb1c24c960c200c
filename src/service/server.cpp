// serve: the acceptor, the record beside the task of each connection, and the drain. It uses public
// headers only: users could have written it.
#include <coro/service/server.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include <coro/base/error.hpp>
#include <coro/base/report.hpp>
#include <coro/core/as_result.hpp>
#include <coro/core/when_any.hpp>
#include <coro/net/exact.hpp>
#include <coro/net/guardian.hpp>
#include <coro/net/room_maker.hpp>
#include <coro/runtime/event.hpp>
#include <coro/runtime/semaphore.hpp>
#include <coro/runtime/sleep.hpp>
#include <coro/runtime/stats.hpp>
#include <coro/runtime/task_group.hpp>
#include <coro/runtime/timeout.hpp>
#include <coro/runtime/until_stop.hpp>

#include "service/address_table.hpp"
#include "service/peer_errors.hpp"
#include "service/server_board.hpp"

namespace coro { inline namespace v0 { namespace detail {
namespace {

class server;

/// The part of a server on one loop.
struct server_share {
    server_share(server& of, unsigned number) noexcept : owner(of), index(number) {}

    server& owner;
    unsigned index;
    /// Connections, those on their way there included: the acceptor counts them up, their ends
    /// count them down. Only a hint, to choose a loop by.
    std::atomic<std::size_t> alive{0};
    // --- written by this loop, before all are counted as begun
    std::optional<loop_handle> loop;
    net::guardian* guard = nullptr;
    task_group* group = nullptr;   ///< nullptr before it has begun, and after it was cancelled
    std::exception_ptr not_begun;  ///< why it could not
    // ---
    /// What the share waits for: that no newcomer is on its way to it. The share itself stands for
    /// the word of the acceptor, if that came first.
    std::atomic<void*> all_sent{nullptr};
};

/// The group of a share, for newcomers, as long as its body waits.
class open_group {
public:
    open_group(server_share& of, task_group& group) noexcept : of_(of) { of_.group = &group; }
    open_group(const open_group&) = delete;
    open_group& operator=(const open_group&) = delete;
    ~open_group() { of_.group = nullptr; }

private:
    server_share& of_;
};

/// Tells all shares at its end that nothing is sent to them any more. Allocates nothing.
class sending {
public:
    sending(const std::vector<std::unique_ptr<server_share>>& to, bool& is_open) noexcept
        : to_(to), is_open_(is_open) {
        is_open_ = true;
    }
    sending(const sending&) = delete;
    sending& operator=(const sending&) = delete;
    ~sending() {
        is_open_ = false;
        for (const auto& each : to_)
            if (void* const waited_for = each->all_sent.exchange(each.get()))
                static_cast<event*>(waited_for)->set();
    }

private:
    const std::vector<std::unique_ptr<server_share>>& to_;
    bool& is_open_;
};

/// One connection of a share, counted as long as this lives.
class counted {
public:
    explicit counted(server_share& of) noexcept : of_(&of) {
        of.alive.fetch_add(1, std::memory_order_relaxed);
    }
    counted(counted&& other) noexcept : of_(std::exchange(other.of_, nullptr)) {}
    counted& operator=(counted&& other) noexcept {
        std::swap(of_, other.of_);
        return *this;
    }
    ~counted() {
        if (of_ != nullptr) of_->alive.fetch_sub(1, std::memory_order_relaxed);
    }
    [[nodiscard]] server_share& share() const noexcept { return *of_; }

private:
    server_share* of_;
};

/// A connection that has been accepted and has no handler yet. The place is given back after the
/// count, so that the next one goes where this one was.
struct newcomer {
    semaphore::permit place;
    address_table::place address;
    counted count;
    std::string peer;
};

/// The record beside the task of a handler.
class connection {
public:
    inline connection(newcomer&& from, net::guardian::watch&& watch) noexcept;
    connection(const connection&) = delete;
    connection& operator=(const connection&) = delete;
    inline ~connection();

    void started(std::uint32_t number) noexcept { watch_.belongs_to(number); }
    inline void failed(const std::exception_ptr& error) noexcept;

private:
    newcomer newcomer_;
    net::guardian::watch watch_;
};

/// How long a client that is refused may take to read that and to close its end.
constexpr duration refusal_span = std::chrono::seconds(2);

net::guardian_limits guardian_limits_of(const server_limits& limits) noexcept {
    return {.first_byte = limits.first_byte, .header = limits.header, .idle = limits.idle,
            .total = limits.total, .minimum_rate = limits.minimum_rate,
            .rate_grace = limits.rate_grace, .half_closed = limits.half_closed,
            .end_half_closed = limits.end_half_closed};
}

/// How many handlers of a loop are named when the drain is over.
constexpr std::size_t most_named = 8;
/// How long those that make room have for that, until others are told to. Some may never read.
constexpr duration eviction_pause = std::chrono::seconds(1);
/// Between two reports of clients whose address has enough connections.
constexpr duration turned_away_pause = std::chrono::seconds(1);

/// One serve().
class server final : public acceptor, private net::room_maker {
public:
    server(served& what, const serve_options& options)
        : what_(what),
          options_(options),
          board_(options.control != nullptr ? server_access::board(*options.control)
                                            : std::make_shared<server_board>()),
          addresses_(options.limits.per_address),
          places_(options.limits.connections),
          guard_(guardian_limits_of(options.limits), "serve") {
        const std::size_t refusals = options.refusal.empty() ? 0 : options.limits.refusals;
        if (refusals > 0) {
            refusals_.emplace(refusals);
            untold_.emplace(refusals);
        }
        const unsigned count = options.spread ? loop_count() : 1;
        shares_.reserve(count);
        for (unsigned i = 0; i < count; ++i)
            shares_.push_back(
                std::make_unique<server_share>(*this, (loop_index() + i) % loop_count()));
    }

    server(const server&) = delete;
    server& operator=(const server&) = delete;
    ~server() = default;

    task<> run(task_group& group);
    [[nodiscard]] server_board& board() noexcept { return *board_; }

    /// On the loop of its share: calls the handler.
    void begin(newcomer&& who, net::stream& stream) noexcept;

    // acceptor
    bool has_place() noexcept override { return !board_->is_paused() && takes_place(); }
    bool has_room() noexcept override {
        if (takes_place()) return true;
        if (!refusal_ && refusals_) refusal_ = refusals_->try_acquire();
        return static_cast<bool>(refusal_);
    }
    task<> room() override;
    void accepted(net::stream& stream) noexcept override;

private:
    bool takes_place() noexcept {
        if (!place_) place_ = places_.try_acquire();
        return static_cast<bool>(place_);
    }
    std::size_t make_room() noexcept override;
    void evict_from(net::guardian& of) noexcept {
        evicted_.fetch_add(of.end_quietest(options_.limits.evictions), std::memory_order_relaxed);
    }
    task<> accept_unless_paused();
    void name_stuck() noexcept;
    static task<> serve_share(server_share& share);
    static task<> refuse_one(server& by, net::stream peer, semaphore::permit refusal,
                             semaphore::permit untold);
    void turn_away(net::stream& stream, std::string_view peer) noexcept;
    void refuse(net::stream& stream) noexcept;
    bool hand_over(newcomer& who, net::stream& stream) noexcept;
    server_share& least_loaded() noexcept;
    task<> drained();

    served& what_;
    const serve_options options_;
    std::shared_ptr<server_board> board_;
    const server_board::use use_{*board_};
    event changed_;  ///< whether it is paused has changed
    address_table addresses_;
    bool may_send_ = false;                  ///< shares stay until what is posted has arrived
    bool asked_others_ = false;              ///< the last time that room was to be made
    time_point evict_again_{};
    time_point tell_again_{};                ///< of a client that was turned away
    std::atomic<std::uint64_t> evicted_{0};  ///< those that were told to make room
    semaphore places_;                   ///< held by those that have a handler, or will have
    std::optional<semaphore> refusals_;  ///< held by those that are being refused
    std::optional<semaphore> untold_;    ///< held by those of them that have not been told yet
    semaphore::permit place_;            ///< for the next one
    semaphore::permit refusal_;          ///< for the next one, if there is no place
    std::vector<std::unique_ptr<server_share>> shares_;  ///< the acceptor's loop first
    net::guardian guard_;  ///< of the acceptor's loop
    std::atomic<std::size_t> not_begun_{0};
    event all_begun_;
};

connection::connection(newcomer&& from, net::guardian::watch&& watch) noexcept
    : newcomer_(std::move(from)), watch_(std::move(watch)) {
    server_board::add(newcomer_.count.share().owner.board().accepted);
}

connection::~connection() {
    server_board& board = newcomer_.count.share().owner.board();
    if (watch_.has_ended())
        server_board::add(board.ended[static_cast<std::size_t>(watch_.cause())]);
    board.ended_all.fetch_add(1, std::memory_order_release);
}

void connection::failed(const std::exception_ptr& error) noexcept {
    server_board::add(newcomer_.count.share().owner.board().failed);
    // What a handler meets after the guardian has ended its connection is the guardian's doing.
    if (!watch_.has_ended() || !is_about(error, newcomer_.peer))
        return report_problem(error, newcomer_.peer);
    newcomer_.count.share().guard->report_end("serve", newcomer_.peer, watch_.cause());
}

/// A newcomer on its way. The server is there when it arrives: a share stays until it has heard
/// that all have been sent, and that comes after this one. Its group may be over: a signal cancels
/// each loop by a message of its own, and the acceptor's loop may be late.
class traveller final : public arrival {
public:
    explicit traveller(newcomer&& who) noexcept : who_(std::move(who)) {}
    void arrived(net::stream& stream) noexcept override {
        server& owner = who_.count.share().owner;
        owner.begin(std::move(who_), stream);
    }
    void lost(const std::exception_ptr& error) noexcept override {
        report_problem(error, who_.peer);
    }
    newcomer& who() noexcept { return who_; }

private:
    newcomer who_;
};

void server::begin(newcomer&& who, net::stream& stream) noexcept {
    const server_share& share = who.count.share();
    if (share.group == nullptr) return;  // closed in order: nobody has read from it
    try {
        if (options_.reset_failed) stream.reset_on_failure();
        // The handler may move the stream away, so it is watched before.
        net::guardian::watch watch = share.guard->watch_over(stream);
        task<> child = what_.call(stream, net::guarded(watch));
        // The coroutine of serve keeps the handler, and ends after its children.
        share.group->spawn_with<connection>({.closure_is_kept = true}, std::move(child),
                                            std::move(who), std::move(watch));
    } catch (const cancelled&) {
        return;
    } catch (...) {
        report_problem(std::current_exception(), who.peer);
    }
}

server_share& server::least_loaded() noexcept {
    server_share* least = shares_.front().get();
    for (const auto& each : shares_)
        if (each->alive.load(std::memory_order_relaxed) <
            least->alive.load(std::memory_order_relaxed))
            least = each.get();
    return *least;
}

/// The connection goes to the loop that has the fewest. Whatever goes wrong with it is reported
/// with its peer, and the server goes on.
void server::accepted(net::stream& stream) noexcept {
    // Where a refusal was waited for, a place may have come back before the client came.
    if (!takes_place()) return refuse(stream);
    try {
        std::string peer = stream.describe();
        address_table::place address;
        if (const std::optional<net::endpoint> from = what_.endpoint_of(stream);
            from && (options_.limits.limit_loopback || !from->is_loopback())) {
            std::optional<address_table::place> taken = addresses_.take(*from);
            if (!taken) return turn_away(stream, peer);
            address = std::move(*taken);
        }
        server_share& least = least_loaded();
        server_share& here = *shares_.front();
        newcomer who{std::move(place_), std::move(address), counted(least), std::move(peer)};
        if (&least != &here) {
            // A group that was cancelled has told its other loops: nothing may follow that.
            if (!here.group->is_cancelled() && hand_over(who, stream)) return;
            who = newcomer{std::move(who.place), std::move(who.address), counted(here),
                           std::move(who.peer)};
        }
        begin(std::move(who), stream);
    } catch (...) {
        report_problem(std::current_exception(), {});
    }
}

/// False: it stays here.
bool server::hand_over(newcomer& who, net::stream& stream) noexcept {
    if (!what_.can_move(stream)) return false;
    const loop_handle& loop = *who.count.share().loop;
    std::unique_ptr<traveller> carrier;
    try {
        carrier = std::make_unique<traveller>(std::move(who));
        what_.move_to(loop, stream, *carrier);
        static_cast<void>(carrier.release());  // it is on its way, and may have ended already
        return true;
    } catch (const std::exception&) {
        // Without memory, before the carrier was there or with it.
        if (carrier == nullptr) return false;
        who = std::move(carrier->who());
        if (stream) return false;  // what follows meets that too, and tells it
        report_problem(std::current_exception(), who.peer);
        return true;  // it was taken off this loop, and is closed
    }
}

/// The bytes, the end of the stream behind them, and what the client still sends is read and
/// dropped: a close before that would be a reset, which destroys bytes on their way. What the
/// client does meanwhile is no error of the server.
task<> server::refuse_one(server& by, net::stream peer, semaphore::permit refusal,
                          semaphore::permit untold) {
    // Of the body: they end here, and not where the frame does.
    const semaphore::permit held = std::move(refusal);
    semaphore::permit to_be_told = std::move(untold);
    const time_point deadline = saturating_add(now(), refusal_span);
    const const_bytes text = as_bytes(by.options_.refusal);
    const result<void> told =
        co_await as_result(with_deadline(deadline, net::write_all(peer, text)));
    if (!told.has_value()) co_return;
    // The end of the stream is sent before this task gives way. A client that then keeps its own
    // end open must not hold that of the server.
    to_be_told.release();
    co_await peer.close_gracefully(deadline - now());
}

/// A client whose address has all that it may have. It costs no place: the next one gets it.
void server::turn_away(net::stream& stream, std::string_view peer) noexcept {
    server_board::add(board_->over_address);
    if (const time_point present = now(); present >= tell_again_) {
        tell_again_ = saturating_add(present, turned_away_pause);
        report({.level = severity::notice, .verb = "serve", .endpoint = peer, .error = {},
                .text = "turned away: its address has as many connections as "
                        "server_limits.per_address allows",
                .task = {}});
    }
    if (refusals_ && !refusal_) refusal_ = refusals_->try_acquire();
    if (refusal_) refuse(stream);
    else stream.abort();
}

void server::refuse(net::stream& stream) noexcept {
    server_board::add(board_->refused);
    try {
        semaphore::permit untold = untold_->try_acquire();
        shares_.front()->group->spawn({.name = "refuse"}, refuse_one, std::ref(*this),
                                        net::stream(std::move(stream)), std::move(refusal_),
                                        std::move(untold));
    } catch (...) {
        report_problem(std::current_exception(), {});
    }
}

task<> server::room() {
    if (!refusals_) {
        place_ = co_await places_.acquire();
        co_return;
    }
    auto first = co_await when_any(places_.acquire(), refusals_->acquire());
    if (first.has_value<0>()) place_ = std::move(first.get<0>());
    if (first.has_value<1>()) refusal_ = std::move(first.get<1>());
}

/// Until all handlers have ended and all refusals are told.
task<> server::drained() {
    const semaphore::permit all = co_await places_.acquire(places_.count());
    if (!untold_) co_return;
    const semaphore::permit told = co_await untold_->acquire(untold_->count());
}

/// Runs on each other loop for the life of the server.
task<> server::serve_share(server_share& share) {
    net::guardian guard(guardian_limits_of(share.owner.options_.limits), "serve");
    share.guard = &guard;
    const auto tell = [&share] {
        if (share.owner.not_begun_.fetch_sub(1) == 1) share.owner.all_begun_.set();
    };
    event all_sent;
    bool begun = false;
    bool may_come = false;
    const auto body = [&](task_group& group) -> task<> {
        const open_group open(share, group);
        share.loop.emplace(loop_handle::of_this_loop());
        begun = true;
        may_come = share.all_sent.exchange(&all_sent) == nullptr;
        tell();
        event never_set;
        co_await never_set.wait();
    };
    std::exception_ptr ended;
    try {
        co_await with_task_group(body, {.policy = on_error::report_and_go_on});
    } catch (...) {
        ended = std::current_exception();
    }
    // The acceptor waits for all shares to begin, and throws what kept one from it.
    if (!begun) {
        share.not_begun = std::exchange(ended, nullptr);
        tell();
    }
    // Newcomers may be on their way here. They use the server, which ends after its shares.
    if (may_come) co_await shield(all_sent.wait(), duration::max());
    if (ended) std::rethrow_exception(ended);
}

task<> server::run(task_group& group) {
    const sending to_all(shares_, may_send_);
    shares_.front()->guard = &guard_;
    shares_.front()->group = &group;
    not_begun_ = shares_.size() - 1;
    for (std::size_t i = 1; i < shares_.size(); ++i)
        group.spawn({.name = "serve", .loop = shares_[i]->index}, serve_share,
                    std::ref(*shares_[i]));
    if (shares_.size() > 1) co_await all_begun_.wait();
    for (const auto& share : shares_)
        if (share->not_begun) std::rethrow_exception(share->not_begun);
    static_cast<void>(co_await until_stop(accept_unless_paused()));
    co_await what_.accept_if_waiting(*this);
    place_.release();
    refusal_.release();
    if (!co_await move_on_after(options_.limits.drain, drained())) name_stuck();
    group.cancel();
}

task<> server::accept_unless_paused() {
    const server_board::attending at(*board_, changed_);
    for (;;) {
        changed_.reset();
        if (board_->is_paused()) {
            co_await changed_.wait();
            continue;
        }
        auto first = co_await when_any(what_.accept_all(*this), changed_.wait());
        if (first.index() == 0) first.get<0>();  // it never ends without an error
    }
}

/// The handlers of those that make room end soon, and their descriptors come back then. Until they
/// have ended, for a second at most, no more are told to: the cause may be another one. Those
/// of the acceptor's loop come first. If there are none, it asks the other loops; it hears nothing
/// of them, so each second time it says that there is no room.
std::size_t server::make_room() noexcept {
    const std::uint64_t gone = board_->ended[static_cast<std::size_t>(net::end_cause::evicted)];
    const time_point present = now();
    if (options_.limits.evictions == 0 || (evicted_ > gone && present < evict_again_)) return 0;
    evict_again_ = saturating_add(present, eviction_pause);
    evict_from(guard_);
    if (evicted_ > gone) return evicted_ - gone;
    asked_others_ = may_send_ && !asked_others_;
    if (!asked_others_) return 0;
    std::size_t asked = 0;
    for (std::size_t i = 1; i < shares_.size(); ++i) {
        server_share& share = *shares_[i];
        if (share.alive.load(std::memory_order_relaxed) == 0 || !share.loop) continue;
        try {
            // The share and the server are there when it arrives, as they are for a traveller.
            share.loop->post([&share]() noexcept { share.owner.evict_from(*share.guard); });
            ++asked;
        } catch (...) {  // no memory, or its loop has ended
        }
    }
    return asked;
}

/// Tells where those wait that the drain was too short for. The messages overtake the cancellation.
void server::name_stuck() noexcept {
    const auto name = [](const net::guardian& of) noexcept {
        const std::size_t found =
            of.report_watched("serve", "cancelled, the drain is over", most_named);
        if (found <= most_named) return;
        std::array<char, 96> text{};
        const int size =
            std::snprintf(text.data(), text.size(),
                          "cancelled, the drain is over: %zu more handlers", found - most_named);
        report({.level = severity::notice, .verb = "serve", .endpoint = {}, .error = {},
                .text = {text.data(), static_cast<std::size_t>(size)}, .task = {}});
    };
    name(guard_);
    for (std::size_t i = 1; i < shares_.size(); ++i) {
        const server_share& share = *shares_[i];
        if (share.alive.load(std::memory_order_relaxed) == 0 || !share.loop) continue;
        try {
            share.loop->post([&share, name]() noexcept { name(*share.guard); });
        } catch (...) {  // they are cancelled unnamed
        }
    }
}

void warn_of_cap(const serve_options& options) {
    const std::size_t connections = options.limits.connections;
    const std::size_t descriptors = open_file_limit();
    const std::size_t refusals = options.refusal.empty() ? 0 : options.limits.refusals;
    if (connections <= descriptors / 2 && refusals <= descriptors / 2 - connections) return;
    const std::string also =
        refusals == 0 ? std::string() : " with refusals = " + std::to_string(refusals);
    report({.level = severity::warning, .verb = "serve", .endpoint = {}, .error = {},
            .text = "connections = " + std::to_string(connections) + also +
                    " is above half of the limit of open files, " + std::to_string(descriptors) +
                    ": lower it, or raise the limit (ulimit -n, LimitNOFILE=)",
            .task = {}});
}

}  // namespace

task<> serve_connections(served& what, serve_options options) {
    CORO_ASSERT(options.limits.connections > 0, "server_limits.connections must be at least 1");
    CORO_ASSERT(options.limits.per_address > 0, "server_limits.per_address must be at least 1");
    warn_of_cap(options);
    server of(what, options);
    const auto body = [&of](task_group& group) -> task<> { co_await of.run(group); };
    co_await with_task_group(
        body, {.policy = on_error::report_and_go_on, .cancel_ends_stop = true});
}

}}}  // namespace coro::v0::detail
