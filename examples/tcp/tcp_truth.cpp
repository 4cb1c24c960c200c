// Questions about TCP, each answered by what the kernel of this machine does: a timeline, and the
// claims that were seen.
//
// Run:   build/debug/examples/tcp_truth                  lists the questions
//        build/debug/examples/tcp_truth without_accept   answers one
//
// You see what each side did and when, and then the claims: `yes` is in front of what was seen,
// `NO` in front of what was not. It ends with 1 when a claim was not seen, and with 77 when this
// machine forbids what the question needs, which is a network namespace. docs/guide/tcp/ has a page
// for each question.
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>
#include <string_view>

#include "questions.hpp"

namespace tcp_truth {

std::string name_of_error(int error) {
    const char* name = ::strerrorname_np(error);
    return std::string(::strerror(error)) + " (" + (name == nullptr ? "?" : name) + ")";
}

namespace {

constexpr int is_not_allowed = 77;
constexpr int wrong_usage = 2;

int list() {
    for (const question& each : questions) std::printf("%-20s  %s\n", each.name, each.text);
    return 0;
}

int answer(const question& asked) {
    std::printf("%s\n\n", asked.text);
    timeline line;
    try {
        asked.answer(line);
        return line.finish();
    } catch (const not_allowed& why) {
        std::fprintf(stderr, "tcp_truth %s: this machine does not allow it: %s\n", asked.name,
                     why.what());
        return is_not_allowed;
    } catch (const std::exception& why) {
        static_cast<void>(line.finish());
        std::fprintf(stderr, "tcp_truth %s: %s\n", asked.name, why.what());
        return 1;
    }
}

}  // namespace
}  // namespace tcp_truth

int main(int count, char** values) {
    if (count == 1) return tcp_truth::list();
    for (const tcp_truth::question& each : tcp_truth::questions)
        if (count == 2 && std::string_view(values[1]) == each.name)
            return tcp_truth::answer(each);
    std::fprintf(stderr, "usage: tcp_truth [QUESTION]: one of those that it lists without one\n");
    return tcp_truth::wrong_usage;
}
