"""The tables of the arena: the models of a server, the loads, and why a model costs what it does.

A model is a program `PROGRAM --port P`, as common/server.hpp says. A load is a set of words for
coro_load. The arena measures every model under every load; nothing else needs to know of either.
"""

import typing

BASELINE = "raw epoll"
THREADS = "threads"
COROUTINES = ["coroutine, epoll", "coroutine, io_uring"]


class Model(typing.NamedTuple):
    name: str
    family: str  # its colour: threads, raw, coroutine, fiber or peer
    command: str  # a program of perf/contenders and its options
    what: str
    in_readme: bool = False  # whether the README's chart has it
    is_restless: bool = False  # it computes when nothing happens, so it is stopped between windows
    causes: dict = {}  # by verdict: what makes it cost that
    spreads: bool = False  # over several processors by itself, or with --loops


COST_OF_WALK = ("each wait hands all descriptors to the kernel, and both sides look at each of "
                "them, whether it has something or not")
ALL_ARE_BUSY = "where nearly all connections have something, looking at each of them is no waste"

MODELS = [
    Model("processes", "threads", "process_echo",
          "fork for each connection, blocking calls, at most 1000 processes",
          causes={"more": "each message wakes a process of its own and switches to its address "
                          "space, whose translations the processor must find again",
                  "same": "with little to switch between, a receive and a send are all it calls",
                  "less": "a message needs a receive and a send, and no call that waits for "
                          "events"}),
    Model(THREADS, "threads", "threads_echo",
          "a std::thread per connection, blocking calls, stacks of 128 KiB", True, spreads=True,
          causes={"more": "each message wakes a thread of its own and switches to it, where one "
                          "wait of a loop hands out many messages",
                  "same": "a message needs a receive and a send and no wait, but the switch to its "
                          "thread costs what the wait would",
                  "less": "a message needs a receive and a send, and no call that waits for "
                          "events"}),
    Model("thread pool", "threads", "thread_pool_echo",
          "four threads that wait at one epoll; each connection is with one of them at a time",
          spreads=True,
          causes={"more": "each message has a wait and an epoll_ctl of its own, because a "
                          "connection is handed to one thread and asked for again",
                  "same": "where each wait of a loop finds one message, its threads wait as "
                          "often, and an epoll_ctl is little beside the kernel's TCP",
                  "less": "a thread that is awake takes the next connection from the kernel "
                          "without a walk through a list of events"}),
    Model("polling", "raw", "polling_echo",
          "a loop that walks all connections, asks each, and waits for nothing",
          is_restless=True,
          causes={"more": "it asks connections that have nothing, with a system call each, and "
                          "takes a whole processor for it",
                  "same": "what it saves in waits it spends on questions that find nothing",
                  "less": "nearly every question finds a message, and it never waits or is woken"}),
    Model("select", "raw", "select_echo", "a loop of select, recv and send",
          causes={"more": COST_OF_WALK + "; the sets are copied there and back",
                  "same": ALL_ARE_BUSY, "less": ALL_ARE_BUSY}),
    Model("poll", "raw", "poll_echo", "a loop of poll, recv and send",
          causes={"more": COST_OF_WALK + ", in a list of eight bytes each",
                  "same": ALL_ARE_BUSY, "less": ALL_ARE_BUSY}),
    Model(BASELINE, "raw", "epoll_echo",
          "one loop of epoll_wait, recv and send, written by hand, level-triggered", True,
          causes={"base": "the kernel keeps the list of who is ready, so a wait costs as much as "
                          "there is to do, and one wait hands out many messages"}),
    Model("epoll, edge", "raw", "epoll_edge_echo",
          "the same, edge-triggered: a connection is registered once",
          causes={"same": "the kernel keeps the same list in both modes, and neither calls "
                          "epoll_ctl for a message",
                  "less": "the kernel need not ask a served connection again at the next wait",
                  "more": "it keeps a list of its own of what is not drained yet, and each event "
                          "tells of room as well"}),
    Model("raw io_uring", "raw", "uring_echo", "one loop on the ring, written by hand", True,
          causes={"less": "all receives and sends of a turn enter the kernel in one call",
                  "same": "one call enters the kernel for all messages of a turn, and each message "
                          "pays for its entries in the rings instead",
                  "more": "a message has entries in two rings and a poll to arm, and too few "
                          "others share its call"}),
    Model("coroutine, epoll", "coroutine", "coro_echo --poller epoll",
          "coro, a task per connection", True,
          causes={"same": "a task is resumed where the loop by hand calls a function, and the "
                          "kernel's TCP is most of the cost",
                  "less": "a socket is registered once, and a receive that does not fill its "
                          "buffer saves the next one",
                  "more": "each turn also reads the clock, and looks at timers and run queue"}),
    Model("coroutine, io_uring", "coroutine", "coro_echo --poller io_uring",
          "coro, a task per connection", True,
          causes={"same": "the requests of a turn share a call, and the task's turn costs what "
                          "that saves",
                  "less": "the requests of a turn enter the kernel together",
                  "more": "each turn also reads the clock, and looks at timers and run queue"}),
    Model("fiber, epoll", "fiber", "fiber_echo --poller epoll", "coro, a fiber per connection",
          True,
          causes={"same": "a switch of stacks costs some nanoseconds, the kernel's TCP thousands",
                  "less": "a socket is registered once, and a receive that does not fill its "
                          "buffer saves the next one",
                  "more": "each fiber has a stack, and a message touches a page of it that many "
                          "others have pushed out of the caches"}),
    Model("fiber, io_uring", "fiber", "fiber_echo --poller io_uring",
          "coro, a fiber per connection", True,
          causes={"same": "the requests of a turn share a call, and the switch of stacks costs "
                          "what that saves",
                  "less": "the requests of a turn enter the kernel together",
                  "more": "each fiber has a stack, and a message touches a page of it that many "
                          "others have pushed out of the caches"}),
]


CPU = "server_cpu_us_per_message"
P99 = "p99_us"
RATE = "messages_per_second"


class Load(typing.NamedTuple):
    name: str
    title: str
    story: str
    words: list  # for coro_load
    connections: int
    is_main: bool = False  # measured by --quick too
    is_curve: bool = False  # a point of the curve over the number of connections
    measure: str = CPU  # what is divided by the baseline's: CPU, P99 or RATE
    bar: float = 0  # of coroutines, to the raw loop on the same poller; 0: there is none
    fiber_bar: float = 0
    is_pinned: bool = True  # the server and the generator, each to a processor of its own
    loops: int = 1  # of coro; with more only models that use several processors take part
    baseline: str = BASELINE


def closed(connections, size=64, depth=1):
    return ["--connections", str(connections), "--size", str(size), "--depth", str(depth)]


def on_the_curve(connections, title, is_main=False):
    story = "The same on one connection." if connections > 1 else \
        "One client sends 64 bytes, waits for them to come back, and sends again."
    if connections > 1:
        story = f"The same on {connections} connections at once."
    # One connection, and 64 and 1000, have bars of their own; the others are the curve's.
    bar = {1: 1.03, 64: 1.02, 1000: 1.02}.get(connections, 1.05)
    return Load(f"{connections}x64", title, story, closed(connections), connections, is_main, True,
                bar=bar, fiber_bar=1.05)


def of_size(connections, size, spoken, **more):
    short = spoken.replace(" ", "").removesuffix("iB")
    return Load(f"{connections}x{short}", f"Messages of {spoken}",
                f"{connections} connections send {spoken}, wait for them, and send again.",
                closed(connections, size), connections, **more)


BARS = {"bar": 1.02, "fiber_bar": 1.05}
LOADS = [
    on_the_curve(1, "1 connection", True),
    on_the_curve(4, "4 connections"),
    on_the_curve(16, "16 connections"),
    on_the_curve(64, "64 connections", True),
    on_the_curve(256, "256 connections"),
    on_the_curve(1000, "1000 connections", True),
    on_the_curve(4000, "4000 connections"),
    on_the_curve(10000, "10 000 connections"),
    on_the_curve(16000, "16 000 connections"),
    Load("64x64-short", "Short connections",
         "A connection for each message: connect, one message there and back, close; 64 at a time.",
         ["--connections", "64", "--size", "64", "--short"], 64, True, **BARS),
    Load("16-of-10000", "Mostly idle connections",
         "Of 10 000 connections 16 send 64 bytes, wait for them, and send again; all others have "
         "said something once and are silent.",
         ["--connections", "10000", "--active", "16", "--size", "64"], 10000),
    Load("16-of-1000", "Mostly idle connections, 1000",
         "The same, 16 of 1000 connections.",
         ["--connections", "1000", "--active", "16", "--size", "64"], 1000),
    Load("paced", "Paced messages",
         "One connection, 1000 messages a second, each due at its time.",
         ["--connections", "1", "--size", "64", "--rate", "1000"], 1),
    Load("one-free", "One busy connection, not pinned",
         "One client sends 64 bytes, waits for them, and sends again. Neither side is pinned, so "
         "that a server which looks for more before it sleeps may do so. What is compared is "
         "messages per second.",
         ["--connections", "1", "--size", "64"], 1, measure=RATE, bar=2.4, is_pinned=False),
    Load("paced-free", "Paced messages, not pinned",
         "One connection, 1000 messages a second, each due at its time. Neither side is pinned.",
         ["--connections", "1", "--size", "64", "--rate", "1000"], 1, bar=1.1, is_pinned=False),
    Load("two-loops", "Two loops",
         "64 connections send 64 bytes, wait for them, and send again. coro has two loops, and "
         "threads spread by themselves; nothing is pinned. The figures are the CPU time per "
         "message, beside threads, and how equal the shares of the connections are.",
         closed(64), 64, is_pinned=False, loops=2, baseline=THREADS),
    Load("open", "Open loop",
         "20 000 messages a second on 64 connections, each due at its time, whether the one before "
         "has come back or not. What is compared is the 99th percentile of the time from when a "
         "message was due.",
         ["--connections", "64", "--size", "64", "--depth", "16", "--rate", "20000"], 64,
         measure=P99),
    Load("64x64x16", "16 messages in flight",
         "64 connections, on each of them 16 messages of 64 bytes under way.",
         closed(64, 64, 16), 64, **BARS),
    of_size(64, 1024, "1 KiB"),
    of_size(64, 16384, "16 KiB", **BARS),
    of_size(64, 65536, "64 KiB", **BARS),
    of_size(16, 1048576, "1 MiB"),
    Load("slow", "Slow consumers",
         "Of 1000 connections 1 % send all they can and read a trickle. What is compared is the "
         "99th percentile of the others' round trips.",
         ["--connections", "1000", "--size", "64", "--slow", "1%"], 1000, measure=P99),
    Load("greedy", "One greedy connection",
         "One of 64 connections keeps 256 messages under way, the others one. What is compared is "
         "the 99th percentile of the others' round trips.",
         ["--connections", "64", "--size", "64", "--greedy", "256"], 64, measure=P99),
]
RANKED_BY = "1000x64"
