// What does a client do when its server reads slowly?
//
// Run:   build/debug/examples/tcp_truth zero_window
//
// You see the client's kernel fill the server's buffer, stop, and ask now and then whether there is
// room. Then the server reads, and all bytes arrive.
#include <cstdint>
#include <string>

#include "listed_end.hpp"
#include "own_network.hpp"
#include "questions.hpp"
#include "raw_socket.hpp"

namespace tcp_truth::zero_window {

std::string words(const raw_socket& client) {
    const tcp_info info = client.info();
    return "window " + std::to_string(info.tcpi_snd_wnd) + ", " +
           std::to_string(info.tcpi_unacked) + " segments unacknowledged, " +
           std::to_string(info.tcpi_notsent_bytes) + " bytes not sent, " +
           std::to_string(info.tcpi_total_retrans) + " retransmissions";
}

void be_slow(timeline& line, bool with_loss_probes) {
    const own_network network;  // its counters begin at 0
    network.set("tcp_early_retrans", with_loss_probes ? "3" : "0");
    const auto count = [](const char* name) { return own_network::counter("TcpExt", name); };
    const pair_of_sockets ends;
    const listed_end client(ends.client);
    line.at("kernel", words(ends.client));
    const std::uint32_t window = ends.client.info().tcpi_snd_wnd;

    std::size_t sent = 0;
    const std::string bytes(65536, 'x');
    for (long took = 0; (took = ends.client.try_send(bytes)) > 0;)
        sent += std::size_t(took);
    line.at("client", "sends until it would block: " + count_of(sent, "byte"));
    line.at("server", "is busy, and reads nothing");
    until("the kernel has asked twice whether there is room, and got an answer",
          [&] { return count("TCPWinProbe") >= 2 && ends.client.info().tcpi_unacked == 0; });
    const tcp_info info = ends.client.info();
    const bool probing = client.find()->timer == kernel_timer::zero_window;
    const int taken = ends.server.unread();
    line.at("kernel", words(ends.client));
    line.at("kernel", "asked " + std::to_string(count("TCPWinProbe")) +
                          " times for the window, and sent loss probes " +
                          std::to_string(count("TCPLossProbes")) + " times");
    ends.client.shutdown(SHUT_WR);
    std::size_t received = 0;
    for (std::string got; !(got = ends.server.receive(65536)).empty();)
        received += got.size();
    line.at("server", "reads all: " + count_of(received, "byte"));
    const auto twice = ends.client.info().tcpi_total_retrans;
    if (with_loss_probes) {
        line.holds("What is sent twice are loss probes at most: no retransmit timer runs out.",
                   long{twice} <= count("TCPLossProbes") && count("TCPTimeouts") == 0);
        return;
    }
    line.holds("The server's kernel takes bytes and acknowledges them; no program has read any.",
               taken > 0 && info.tcpi_unacked == 0);
    line.holds("Its window shrinks, and the rest waits at the client.",
               info.tcpi_snd_wnd < window && info.tcpi_notsent_bytes > 0);
    line.holds("The client's kernel asks now and then whether there is room.", probing);
    line.holds("When the server reads, all bytes arrive.", received == sent);
    line.holds("Without loss probes nothing at all is retransmitted.", twice == 0);
}

void answer(timeline& line) {
    line.at("kernel", "sends loss probes (tcp_early_retrans=3, the default)");
    be_slow(line, true);
    line.at("kernel", "sends none (tcp_early_retrans=0)");
    be_slow(line, false);
}

}  // namespace tcp_truth::zero_window
