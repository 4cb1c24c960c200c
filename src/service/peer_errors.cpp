// Whose fault an error is: the endpoints that errors name, compared with the peer's.
#include "service/peer_errors.hpp"

#include <cstddef>
#include <system_error>

#include <coro/base/error.hpp>
#include <coro/net/address.hpp>

namespace coro { inline namespace v0 { namespace detail {
namespace {

/// Whether `outer` is the name of a transport on what `inner` names: "tls 192.0.2.1:80".
bool stands_on(std::string_view outer, std::string_view inner) noexcept {
    return !inner.empty() && outer.size() > inner.size() && outer.ends_with(inner) &&
           outer[outer.size() - inner.size() - 1] == ' ';
}

/// Whether `cut`, of which an error kept the beginning only, may be the name of `peer`, or of a
/// transport on it: "tls /run/a-long-path". A rest that may be an IP address says too little.
bool begins_as(std::string_view cut, std::string_view peer) noexcept {
    constexpr std::size_t telling = net::endpoint::text_capacity;
    if (cut.size() != error_endpoint_capacity) return false;
    if (peer.starts_with(cut)) return true;
    for (std::size_t at = cut.find(' '); at != cut.npos; at = cut.find(' ', at + 1)) {
        const std::string_view rest = cut.substr(at + 1);
        if (rest.size() >= telling && peer.starts_with(rest)) return true;
    }
    return false;
}

/// Whether an error's `endpoint` is the connection to `peer`. A handler may wrap the stream that it
/// was given, and a listener may give one that it has wrapped.
bool names(std::string_view endpoint, std::string_view peer) noexcept {
    return endpoint == peer || stands_on(endpoint, peer) || stands_on(peer, endpoint) ||
           begins_as(endpoint, peer);
}

severity level_of(const std::exception_ptr& error, std::string_view peer) noexcept {
    try {
        std::rethrow_exception(error);
    } catch (const io_error& problem) {
        if (!problem.endpoint().empty() && !names(problem.endpoint(), peer))
            return severity::error;
        for (const std::errc each : {std::errc::connection_reset, std::errc::broken_pipe,
                                     std::errc::connection_aborted, std::errc::timed_out})
            if (problem == each) return severity::notice;
        return problem == errc::end_of_stream ? severity::notice : severity::error;
    } catch (...) {
        return severity::error;
    }
}

}  // namespace

bool is_about(const std::exception_ptr& error, std::string_view peer) noexcept {
    try {
        std::rethrow_exception(error);
    } catch (const io_error& problem) {
        return names(problem.endpoint(), peer) ||
               (problem.endpoint().empty() && problem == errc::closed);
    } catch (...) {
        return false;
    }
}

void report_problem(const std::exception_ptr& error, std::string_view peer) noexcept {
    report_exception({.level = level_of(error, peer), .verb = "serve", .endpoint = peer,
                      .error = {}, .text = {}, .task = {}},
                     error);
}

}}}  // namespace coro::v0::detail
