// Recorder: a stream that stands on another one, prints what passes, and hands it on as it is.
// TLS changes the bytes, and has buffers of its own: docs/guide/streams.md, "Streams of your own".
//
// Run:   build/debug/examples/recorder
// See:   each transfer of one end of a connection in memory; an error that names it. Ends with 0.
#include <coro/coro.hpp>
#include <cstdio>

namespace net = coro::net;

class recorder final : public net::transport {
public:
    explicit recorder(net::stream below)
        : below_(std::move(below)), name_("recorded " + below_.describe()) {}

    void submit(net::transfer what) noexcept override {
        (what.sends() ? out_ : in_).forward(what);
    }
    void cancel(net::transfer what) noexcept override { (what.sends() ? out_ : in_).cancel(); }
    void shutdown_send() override { below_.shutdown_send(); }
    void close() noexcept override { below_.close(); }
    void abort() noexcept override { below_.abort(); }
    std::uint64_t activity() const noexcept override { return below_.activity(); }
    std::string_view describe() const noexcept override { return name_; }

    void ended(net::relay& which) noexcept override {
        const auto text = coro::as_text(which.piece(0));  // vectored ones have more
        std::printf("%s \"%.*s\"\n", &which == &out_ ? "->" : "<-", int(text.size()), text.data());
        which.pass_on();
    }

private:
    net::stream below_;
    std::string name_;
    net::relay in_{*this, below_};
    net::relay out_{*this, below_};
};

coro::task<> echo(net::stream& peer) {
    while (const auto lease = co_await peer.read_leased())
        co_await net::write_all(peer, lease.bytes());
    peer.close();
}

coro::task<> talk(net::stream& peer) {
    std::array<std::byte, 5> reply{};
    co_await net::write_all(peer, coro::as_bytes("hello"));
    co_await net::read_exact(peer, reply);
    peer.shutdown_send();
    co_await net::read_exact(peer, reply);
}

coro::task<> main_task() {
    auto [here, there] = net::memory_stream::pair();
    net::stream recorded(std::make_unique<recorder>(std::move(here)));
    const auto end = co_await coro::as_result(coro::when_all(talk(recorded), echo(there)));
    if (!end) std::printf("%s\n", end.error().what());
}

int main() { return coro::run_main(main_task()); }
