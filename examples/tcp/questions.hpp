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

struct question {
    const char* name;
    const char* text;
    void (*answer)(timeline& line);
};

inline constexpr question questions[] = {
    {"without_accept", "Is a connection established before the server accepts it?",
     without_accept::answer},
};

}  // namespace tcp_truth
