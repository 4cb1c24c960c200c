// When is the end of a connection a FIN, and when a RST?
//
// Run:   build/debug/examples/tcp_truth reset
//
// You see five connections end: by close, by close with SO_LINGER of 0, by close with unread bytes,
// and what a send meets after the peer's FIN and after its RST.
#include <cerrno>

#include "listed_end.hpp"
#include "own_network.hpp"
#include "questions.hpp"
#include "raw_socket.hpp"

namespace tcp_truth::reset {

/// "4", or the name of the error.
std::string words(long result) {
    return result < 0 ? name_of_error(int(-result)) : std::to_string(result);
}
/// Whether the peer's end or its error has come; it takes nothing away.
void wait_for_news(const raw_socket& from) {
    until("the peer's packet has come", [&] { return from.poll_now(POLLRDHUP) != 0; });
}

void answer(timeline& line) {
    const own_network network;
    {
        pair_of_sockets ends;
        ends.server.send("data");
        ends.server.close();
        wait_for_news(ends.client);
        const long first = ends.client.try_receive(64);
        const long second = ends.client.try_receive(64);
        line.at("server", "sends 4 bytes and closes; it has read all: FIN");
        line.at("client", "reads " + words(first) + ", then " + words(second));
        line.holds("Close sends a FIN when all was read: the peer reads 0.",
                   first == 4 && second == 0);
    }
    {
        pair_of_sockets ends;
        const listed_end end(ends.client);
        ends.server.send("data");
        ends.server.reset();
        wait_for_news(ends.client);
        const bool gone = end.is_gone() && end.other().is_gone();
        line.at("server", "sends 4 bytes and closes with SO_LINGER of 0: RST");
        const long first = ends.client.try_receive(64);
        const long second = ends.client.try_receive(64);
        const long third = ends.client.try_receive(64);
        line.at("client",
                "reads " + words(first) + ", then " + words(second) + ", then " + words(third));
        line.holds("With SO_LINGER of 0 it sends a RST: the peer meets ECONNRESET, once.",
                   second == -ECONNRESET && third == 0);
        line.holds("Bytes that came before the RST can still be read.", first == 4);
        line.holds("A RST leaves no TIME_WAIT on either side.", gone);
    }
    {
        pair_of_sockets ends;
        ends.client.send("unread");
        until("the bytes have come", [&] { return ends.server.unread() == 6; });
        ends.server.send("reply");
        ends.server.close();
        line.at("server", "sends 5 bytes and closes; 6 bytes lie there unread: RST");
        wait_for_news(ends.client);
        const long first = ends.client.try_receive(64);
        const long second = ends.client.try_receive(64);
        line.at("client", "reads " + words(first) + ", then " + words(second));
        line.holds("Close with unread bytes sends a RST and no FIN.", second == -ECONNRESET);
    }
    {
        pair_of_sockets ends;
        const raw_socket& client = ends.client;
        ends.server.close();
        client.wait_until(tcp_state::close_wait);
        const long first = client.try_send("a");
        until("the RST has come", [&] { return client.is(tcp_state::closed); });
        const long second = client.try_send("b");
        line.at("server", "closes: FIN");
        line.at("client", "sends: " + words(first) + ", sends again: " + words(second));
        line.holds("The first send after the peer's FIN succeeds.", first == 1);
        line.holds("The RST that answers it makes the next one fail with EPIPE.", second == -EPIPE);
        line.holds("Reading yields 0 all the same.", client.try_receive(64) == 0);
    }
    {
        pair_of_sockets ends;
        ends.server.reset();
        wait_for_news(ends.client);
        const long first = ends.client.try_send("a");
        const long second = ends.client.try_send("b");
        line.at("server", "closes with SO_LINGER of 0: RST");
        line.at("client", "sends: " + words(first) + ", sends again: " + words(second));
        line.holds("After a RST the first send fails with ECONNRESET, later ones with EPIPE.",
                   first == -ECONNRESET && second == -EPIPE);
    }
}

}  // namespace tcp_truth::reset
