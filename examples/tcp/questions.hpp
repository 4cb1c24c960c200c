// questions: the table of all questions about TCP, in the order in which to read them. Each has a
// name, which is also the name of its source, of its namespace and of its page in docs/guide/tcp/.
#pragma once

#include "timeline.hpp"

namespace tcp_truth {

// A source has one namespace, named after the question, for all that it defines: so that the build
// may compile the sources as one file.
namespace without_accept {
void answer(timeline& line);
}
namespace without_listen {
void answer(timeline& line);
}
namespace handshake {
void answer(timeline& line);
}
namespace backlog {
void answer(timeline& line);
}
namespace full_queue {
void answer(timeline& line);
}
namespace half_open {
void answer(timeline& line);
}
namespace framing {
void answer(timeline& line);
}
namespace readable {
void answer(timeline& line);
}
namespace connect_limit {
void answer(timeline& line);
}
namespace nagle {
void answer(timeline& line);
}
namespace buffers {
void answer(timeline& line);
}
namespace powered_off {
void answer(timeline& line);
}
namespace slow_start {
void answer(timeline& line);
}
namespace zero_window {
void answer(timeline& line);
}
namespace half_close {
void answer(timeline& line);
}
namespace reset {
void answer(timeline& line);
}
namespace closing {
void answer(timeline& line);
}
namespace time_wait {
void answer(timeline& line);
}
namespace port_exhaustion {
void answer(timeline& line);
}
namespace address_in_use {
void answer(timeline& line);
}
namespace reuseport {
void answer(timeline& line);
}
namespace short_connections {
void answer(timeline& line);
}
namespace shared_connection {
void answer(timeline& line);
}
namespace a_million {
void answer(timeline& line);
}
namespace server_models {
void answer(timeline& line);
}
namespace old_texts {
void answer(timeline& line);
}

struct question {
    const char* name;
    const char* text;
    void (*answer)(timeline& line);
};

inline constexpr question questions[] = {
    {"without_accept", "Is a connection established before the server accepts it?",
     without_accept::answer},
    {"handshake", "At which step of the handshake do connect and accept return?",
     handshake::answer},
    {"connect_limit", "How does a program limit the time of connect?", connect_limit::answer},
    {"framing", "Does a receive return what a send has sent?", framing::answer},
    {"readable", "When is a socket readable?", readable::answer},
    {"backlog", "What does the backlog of listen mean?", backlog::answer},
    {"full_queue", "What does a client meet when the accept queue is full?", full_queue::answer},
    {"half_open", "What are the SYN queue and SYN cookies?", half_open::answer},
    {"without_listen", "Can there be a connection without a listener?", without_listen::answer},
    {"powered_off", "How long until a program notices that its peer was powered off?",
     powered_off::answer},
    {"buffers", "What do the sizes of the buffers mean for throughput?", buffers::answer},
    {"nagle", "What do Nagle's algorithm and delayed acknowledgements do together?",
     nagle::answer},
    {"slow_start", "How much does a sender send before the first acknowledgement?",
     slow_start::answer},
    {"zero_window", "What does a client do when its server reads slowly?", zero_window::answer},
    {"half_close", "What is a half-closed connection, and when does the reader learn of the end?",
     half_close::answer},
    {"reset", "When is the end of a connection a FIN, and when a RST?", reset::answer},
    {"closing", "Through which states do both ends walk when they close?", closing::answer},
    {"time_wait", "Who is in TIME_WAIT, for how long, and what does it cost?", time_wait::answer},
    {"port_exhaustion", "When does a client run out of ports, and what helps?",
     port_exhaustion::answer},
    {"address_in_use",
     "Why can a server that begins again not bind its port, and what does SO_REUSEADDR change?",
     address_in_use::answer},
    {"reuseport",
     "How does SO_REUSEPORT spread connections, and what is lost when a listener closes?",
     reuseport::answer},
    {"short_connections",
     "What does a connection for each request cost, against one that stays open?",
     short_connections::answer},
    {"shared_connection", "What happens when tasks share a connection, and what helps?",
     shared_connection::answer},
    {"a_million", "What does a million idle connections need: memory, ports, descriptors?",
     a_million::answer},
    {"server_models", "What does a connection cost, by process, thread, poll and coroutine?",
     server_models::answer},
    {"old_texts", "What do old texts about servers say that is not so, or not any more?",
     old_texts::answer},
};

}  // namespace tcp_truth
