// A poller that passes everything on to another one: a test derives from it and changes a call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>

#include "runtime/poller.hpp"

namespace coro { inline namespace v0 { namespace detail {

/// `turn_time` and `counters` are handed over at each wait(), so both see the same ones.
class forwarding_poller : public poller {
public:
    explicit forwarding_poller(std::unique_ptr<poller> world) : world_(std::move(world)) {}

    [[nodiscard]] poller& behind() noexcept { return *world_; }

    [[nodiscard]] std::string_view name() const noexcept override { return world_->name(); }
    [[nodiscard]] bool submit(operation& op) noexcept override {
        const bool done = world_->submit(op);
        counters = world_->counters;
        return done;
    }
    void cancel(operation& op) noexcept override { world_->cancel(op); }
    void wait(time_point deadline, operation_list& completed) noexcept override {
        world_->turn_time = turn_time;
        world_->wait(deadline, completed);
        counters = world_->counters;
    }
    [[nodiscard]] bool has_more() const noexcept override { return world_->has_more(); }
    void wake() noexcept override { world_->wake(); }
    [[nodiscard]] time_point now() noexcept override { return world_->now(); }
    void return_lease(std::uint32_t lease_id, void* data, bool from_heap) noexcept override {
        world_->return_lease(lease_id, data, from_heap);
    }
    std::size_t lend(operation& op) noexcept override { return world_->lend(op); }

    int open_stream(address_family family, detail::handle& out) noexcept override {
        return world_->open_stream(family, out);
    }
    int open_datagram(address_family family, detail::handle& out) noexcept override {
        return world_->open_datagram(family, out);
    }
    int bind(detail::handle socket, const socket_address& where) noexcept override {
        return world_->bind(socket, where);
    }
    int listen(detail::handle socket, int backlog) noexcept override {
        return world_->listen(socket, backlog);
    }
    int set_option(detail::handle socket, socket_option which, int value) noexcept override {
        return world_->set_option(socket, which, value);
    }
    int get_option(detail::handle socket, socket_option which, int& value) noexcept override {
        return world_->get_option(socket, which, value);
    }
    int local_address(detail::handle socket, socket_address& out) noexcept override {
        return world_->local_address(socket, out);
    }
    int remote_address(detail::handle socket, socket_address& out) noexcept override {
        return world_->remote_address(socket, out);
    }
    int shutdown(detail::handle socket, shutdown_how how) noexcept override {
        return world_->shutdown(socket, how);
    }
    void close(detail::handle socket) noexcept override { world_->close(socket); }
    int close_if_idle(detail::handle listener) noexcept override {
        return world_->close_if_idle(listener);
    }
    int moved_bytes(detail::handle socket, std::uint64_t& out) noexcept override {
        return world_->moved_bytes(socket, out);
    }
    int has_input(detail::handle socket, bool& out) noexcept override {
        return world_->has_input(socket, out);
    }
    int has_peer_ended(detail::handle socket, bool& out) noexcept override {
        return world_->has_peer_ended(socket, out);
    }
    int set_congestion(detail::handle socket, const congestion_name& name) noexcept override {
        return world_->set_congestion(socket, name);
    }
    int get_congestion(detail::handle socket, congestion_name& name) noexcept override {
        return world_->get_congestion(socket, name);
    }
    detail::handle next_socket(std::uint32_t from, std::uint32_t& task) noexcept override {
        return world_->next_socket(from, task);
    }
    int tcp_facts(detail::handle socket, net::tcp_info& out) noexcept override {
        return world_->tcp_facts(socket, out);
    }
    int waiting_clients(detail::handle listener, net::accept_queue& out) noexcept override {
        return world_->waiting_clients(listener, out);
    }
    socket_notes* notes(detail::handle socket) noexcept override { return world_->notes(socket); }
    int shed_connection(detail::handle listener) noexcept override {
        return world_->shed_connection(listener);
    }
    int adopt(int descriptor, detail::handle& out) noexcept override {
        return world_->adopt(descriptor, out);
    }
    int release(detail::handle socket, int& descriptor) noexcept override {
        return world_->release(socket, descriptor);
    }
    int watch(int descriptor, detail::handle& out) noexcept override {
        return world_->watch(descriptor, out);
    }
    int check_stream(int descriptor, address_family family) noexcept override {
        return world_->check_stream(descriptor, family);
    }
    int listen_local(detail::handle socket, const socket_address& where, const local_file& options,
                     file_mark& out) noexcept override {
        return world_->listen_local(socket, where, options, out);
    }
    void remove_file(const socket_address& where, const file_mark& mark) noexcept override {
        world_->remove_file(where, mark);
    }
    int detach(detail::handle socket, detached& out) noexcept override {
        return world_->detach(socket, out);
    }
    int attach(detached&& what, detail::handle& out) noexcept override {
        return world_->attach(std::move(what), out);
    }
    [[nodiscard]] poller_census census() const noexcept override { return world_->census(); }

private:
    std::unique_ptr<poller> world_;
};

}}}  // namespace coro::v0::detail
