// The table of misuse_place_test.cpp: synchronisation, signals and the network.
#include "misuse_table.hpp"

namespace misuse_tests {
namespace {

const misuse of_synchronisation[] = {
    {"event_with_a_waiter", "an event was destroyed while a task waits for it", says::or_later,
     [] {
         in_task([]() -> task<> {
             std::optional<coro::event> gate(std::in_place);
             co_await destroy_under<coro::event>(
                 gate, [](coro::event& of) -> task<> { co_await of.wait(); });
         });
     }},
    {"mutex_with_a_holder", "a mutex was destroyed while a task held it or waited for it",
     says::or_later,
     [] {
         in_task([]() -> task<> {
             std::optional<coro::mutex> guard(std::in_place);
             const auto held = co_await guard->lock();
             guard.reset();
         });
     }},
    {"channel_with_a_waiter",
     "a channel was destroyed while a task waits for it: close it and let them end",
     says::or_later,
     [] {
         in_task([]() -> task<> {
             std::optional<coro::channel<int>> queue(std::in_place, 1U);
             co_await destroy_under<coro::channel<int>>(
                 queue, [](coro::channel<int>& from) -> task<> {
                     static_cast<void>(co_await from.receive());
                 });
         });
     }},
    {"semaphore_with_a_waiter", "a semaphore was destroyed while a task waits for it",
     says::or_later,
     [] {
         in_task([]() -> task<> {
             std::optional<coro::semaphore> slots(std::in_place, 1U);
             const auto held = co_await slots->acquire();
             co_await destroy_under<coro::semaphore>(
                 slots, [](coro::semaphore& of) -> task<> {
                     static_cast<void>(co_await of.acquire());
                 });
         });
     }},
    {"semaphore_with_a_holder", "a semaphore was destroyed before its permits came back",
     says::or_later,
     [] {
         in_task([]() -> task<> {
             std::optional<coro::semaphore> slots(std::in_place, 1U);
             const auto held = co_await slots->acquire();
             slots.reset();
         });
     }},
    {"semaphore_of_nothing", "a semaphore of 0 permits never grants one", says::no_task,
     [] { const coro::semaphore none(0); }},
    {"memory_stream_of_nothing",
     "a memory_stream with a capacity or a chunk of 0 bytes can carry nothing", says::or_later,
     [] {
         in_task([]() -> task<> {
             static_cast<void>(coro::net::memory_stream::pair({.capacity = 0}));
             co_return;
         });
     }},
    {"stream_of_no_transport", "a stream was made of no transport", says::or_later,
     [] {
         in_task([]() -> task<> {
             const coro::net::stream none{std::unique_ptr<coro::net::transport>()};
             co_return;
         });
     }},
    {"acquire_of_too_much",
     "acquire of no permit, or of more than the semaphore has: that never ends", says::or_later,
     [] {
         in_task([]() -> task<> {
             coro::semaphore slots(2);
             static_cast<void>(co_await slots.acquire(3));
         });
     }},
    {"what_does_not_wait_elsewhere",
     "an object that tasks wait for was used outside of its loop by what does not wait: "
     "that works only there", says::or_later,
     [] {
         in_another_loop<coro::mutex>(
             [](task<> (*touch)(coro::mutex&)) -> task<> {
                 coro::mutex guard;
                 co_await elsewhere(guard, touch);
             },
             [](coro::mutex& guard) -> task<> {
                 static_cast<void>(guard.try_lock());
                 co_return;
             });
     }},
    {"event_of_another_run",
     "an object that tasks wait for was used outside of its loop, by a thread "
     "that is no loop of the same run: post to its loop instead", says::no_task,
     [] {
         in_task([]() -> task<> {
             coro::event gate;
             std::thread other([&] { gate.set(); });
             other.join();
             co_return;
         });
     }},
    {"event_with_a_message_on_its_way",
     "an object that tasks wait for was destroyed while a message of another loop was on "
     "its way: it must outlive who uses it there", says::or_later,
     [] {
         in_task(destroy_under_a_message, 2);
     }},
    {"signal_set_outside_of_run", "a signal_set is made inside of run()", says::no_task,
     [] { const coro::signal_set signals({SIGUSR1}); }},
    {"signal_set_with_a_waiter", "a signal_set was destroyed while a task waits for it",
     says::or_later,
     [] {
         in_task([]() -> task<> {
             std::optional<coro::signal_set> signals;
             signals.emplace(std::initializer_list<int>{SIGUSR1});
             co_await destroy_under<coro::signal_set>(
                 signals, [](coro::signal_set& of) -> task<> {
                     static_cast<void>(co_await of.next());
                 });
         });
     }},
    {"signal_set_that_ends_elsewhere", "a signal_set was destroyed outside of its loop",
     says::or_later,
     [] {
         in_another_loop<std::optional<coro::signal_set>>(
             [](task<> (*touch)(std::optional<coro::signal_set>&)) -> task<> {
                 std::optional<coro::signal_set> signals;
                 signals.emplace(std::initializer_list<int>{SIGUSR1});
                 co_await elsewhere(signals, touch);
             },
             [](std::optional<coro::signal_set>& signals) -> task<> {
                 signals.reset();
                 co_return;
             });
     }},
    {"signal_set_that_outlives_its_loop",
     "a signal_set outlives its loop: it must be destroyed inside of run()", says::no_task,
     [] {
         std::optional<coro::signal_set> signals;
         const auto make = [](std::optional<coro::signal_set>& into) -> task<> {
             into.emplace(std::initializer_list<int>{SIGUSR1});
             co_return;
         };
         coro::run(make(signals));
     }},
};

const misuse of_the_network[] = {
    {"listener_on_another_loop",
     "a stream or listener was used on another loop than its own", says::or_later,
     [] {
         in_another_loop<tcp_listener>(
             [](task<> (*touch)(tcp_listener&)) -> task<> {
                 auto listener = tcp_listener::bind(endpoint::loopback(0));
                 co_await elsewhere(listener, touch);
             },
             [](tcp_listener& listener) -> task<> {
                 static_cast<void>(co_await listener.accept());
             });
     }},
    {"listener_in_the_next_run",
     "a stream or listener was used outside of the run() in which it was made: it must end inside "
     "of that", says::or_later,
     [] {
         static std::optional<tcp_listener> kept;
         in_task([]() -> task<> {
             kept.emplace(tcp_listener::bind(endpoint::loopback(0)));
             co_return;
         });
         in_task([]() -> task<> { static_cast<void>(co_await kept->accept()); });
     }},
    {"listener_that_outlives_its_run",
     "a stream or listener was destroyed outside of its loop: it must end inside of the run() in "
     "which it was made", says::no_task,
     [] {
         std::optional<tcp_listener> kept;
         const auto make = [](std::optional<tcp_listener>& into) -> task<> {
             into.emplace(tcp_listener::bind(endpoint::loopback(0)));
             co_return;
         };
         coro::run(make(kept));
     }},
    {"lease_that_ends_elsewhere", "a read lease ended outside of its loop", says::no_task,
     [] {
         in_task([]() -> task<> {
             stream_pair pair;
             co_await pair.open();
             co_await coro::net::write_all(*pair.far, bytes_of("x"));
             coro::net::read_lease lease = co_await pair.near->read_leased();
             std::thread other([&] {
                 const coro::net::read_lease ends_here = std::move(lease);
             });
             other.join();
         });
     }},
    {"reader_of_nothing", "a buffered_stream with a limit of 0 bytes can read nothing",
     says::or_later,
     [] {
         in_task([]() -> task<> {
             stream_pair pair;
             co_await pair.open();
             const coro::net::buffered_stream in(*pair.near, {.limit = 0});
         });
     }},
    {"empty_delimiter", "read_until needs a delimiter of at least one byte", says::or_later,
     [] {
         in_task([]() -> task<> {
             stream_pair pair;
             co_await pair.open();
             coro::net::buffered_stream in(*pair.near);
             static_cast<void>(co_await in.read_until(""));
         });
     }},
    {"writer_of_nothing", "a buffered_writer with a limit of 0 bytes can hold nothing",
     says::or_later,
     [] {
         in_task([]() -> task<> {
             stream_pair pair;
             co_await pair.open();
             const coro::net::buffered_writer out(*pair.near, {.limit = 0});
         });
     }},
    {"writer_with_a_waiter",
     "a buffered_writer was destroyed while a task waits in its write or flush", says::or_later,
     [] {
         in_task([]() -> task<> {
             stream_pair pair;
             co_await pair.open();
             std::optional<coro::net::buffered_writer> out;
             out.emplace(*pair.near, coro::net::buffered_writer_options{.limit = 16});
             co_await destroy_under<coro::net::buffered_writer>(
                 out, [](coro::net::buffered_writer& to) -> task<> {
                     const std::string much(1 << 24, 'x');
                     co_await to.write(bytes_of(much));
                 });
         });
     }},
    {"writer_that_ends_elsewhere", "a buffered_writer was destroyed outside of its loop",
     says::or_later,
     [] {
         using writer = std::optional<coro::net::buffered_writer>;
         in_another_loop<writer>(
             [](task<> (*touch)(writer&)) -> task<> {
                 stream_pair pair;
                 co_await pair.open();
                 writer out;
                 out.emplace(*pair.near);
                 co_await elsewhere(out, touch);
             },
             [](writer& out) -> task<> {
                 out.reset();
                 co_return;
             });
     }},
    {"frames_beyond_their_length", "the limit of frames does not fit their 4-byte length",
     says::or_later,
     [] {
         in_task([]() -> task<> {
             stream_pair pair;
             co_await pair.open();
             coro::net::buffered_stream in(*pair.near);
             coro::net::buffered_writer out(*pair.near);
             const coro::net::framed_stream messages(in, out, {.limit = std::size_t{1} << 32});
         });
     }},
    {"text_without_room", "endpoint::to_text() needs text_capacity bytes", says::no_task,
     [] {
         std::array<char, 4> small{};
         static_cast<void>(endpoint().to_text(small));
     }},
    {"local_text_without_room", "local_address::to_text() needs text_capacity bytes",
     says::no_task,
     [] {
         std::array<char, 4> small{};
         static_cast<void>(coro::net::local_address::abstract("name").to_text(small));
     }},
    {"server_for_nobody", "server_limits.connections must be at least 1", says::the_await,
     [] {
         in_task([]() -> task<> {
             auto listener = tcp_listener::bind(endpoint::loopback(0));
             const auto handler = [](tcp_stream) -> task<> { co_return; };
             co_await coro::serve(listener, handler, {.limits = {.connections = 0}});
         });
     }},
    {"server_for_no_address", "server_limits.per_address must be at least 1", says::the_await,
     [] {
         in_task([]() -> task<> {
             auto listener = tcp_listener::bind(endpoint::loopback(0));
             const auto handler = [](tcp_stream) -> task<> { co_return; };
             co_await coro::serve(listener, handler, {.limits = {.per_address = 0}});
         });
     }},
    {"control_of_two_servers", "a server_control was given to two servers at once", says::the_await,
     [] {
         in_task([]() -> task<> {
             auto first = tcp_listener::bind(endpoint::loopback(0));
             auto second = tcp_listener::bind(endpoint::loopback(0));
             coro::server_control control;
             const auto handler = [](tcp_stream) -> task<> { co_return; };
             const auto serving = [&](coro::task_group& group) -> task<> {
                 group.spawn(coro::serve(first, handler, {.control = &control}));
                 co_await coro::yield();
                 co_await coro::yield();
                 co_await coro::serve(second, handler, {.control = &control});
             };
             co_await coro::with_task_group(serving);
         });
     }},
    {"handler_with_a_moved_from_task", "a handler of serve returned a task that was moved from",
     says::the_await,
     [] {
         in_task([]() -> task<> {
             auto listener = tcp_listener::bind(endpoint::loopback(0));
             const auto client = co_await tcp_stream::connect(listener.local_endpoint());
             const auto handler = [](tcp_stream) -> task<> {
                 task<> work = nothing();
                 const task<> taken = std::move(work);
                 return work;
             };
             co_await coro::serve(listener, handler);
         });
     }},
    {"handler_with_a_started_task",
     "a handler of serve returned a task that had been started before", says::the_await,
     [] {
         in_task([]() -> task<> {
             auto listener = tcp_listener::bind(endpoint::loopback(0));
             const auto client = co_await tcp_stream::connect(listener.local_endpoint());
             task<> work = nothing();
             co_await std::move(work);
             const auto handler = [&work](tcp_stream) -> task<> { return std::move(work); };
             co_await coro::serve(listener, handler);
         });
     }},
};

INSTANTIATE_TEST_SUITE_P(synchronisation, misuse_place_death_test,
                         testing::ValuesIn(of_synchronisation), name_of);
INSTANTIATE_TEST_SUITE_P(network, misuse_place_death_test, testing::ValuesIn(of_the_network),
                         name_of);

}  // namespace
}  // namespace misuse_tests
