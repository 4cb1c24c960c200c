// Does a receive return what a send has sent?
//
// Run:   build/debug/examples/tcp_truth framing
//
// You see three sends that one recv returns, one send that two return, and a send of a part. Then
// frames with a length in front arrive whole, wherever the stream is cut.
#include <algorithm>

#include "questions.hpp"
#include "raw_socket.hpp"

namespace tcp_truth::framing {

void merged_and_cut(const pair_of_sockets& both, timeline& line) {
    for (const char* each : {"one", "two", "three"}) {
        both.client.send(each);
        line.at("client", std::string("sends \"") + each + "\"");
    }
    until("all is there", [&] { return both.server.unread() == 11; });
    const std::string all = both.server.receive(100);
    line.at("server", "recv of up to 100 bytes returns \"" + all + "\"");
    line.holds("One recv returns what three sends have sent.", all == "onetwothree");

    both.client.send("a long message");
    line.at("client", "sends \"a long message\"");
    until("all is there", [&] { return both.server.unread() == 14; });
    const std::string first = both.server.receive(8), rest = both.server.receive(8);
    line.at("server", "recv of up to 8 bytes returns \"" + first + "\", then \"" + rest + "\"");
    line.holds("Two recvs return what one send has sent.", first + rest == "a long message");
}

void partial_send(timeline& line) {
    const pair_of_sockets both;
    const std::string large(16UL << 20, 'x');
    const long taken = both.client.try_send(large);
    line.at("client", "offers " + std::to_string(large.size()) +
                          " bytes and does not wait: send took " + std::to_string(taken));
    line.holds("A send that does not wait takes a part.",
               taken > 0 && static_cast<std::size_t>(taken) < large.size());
}

/// Four bytes of length, the greatest first, and then the content.
std::string frame_of(const std::string& content) {
    std::string made;
    for (int shift = 24; shift >= 0; shift -= 8)
        made += static_cast<char>(content.size() >> shift & 0xff);
    return made + content;
}

/// Collects bytes, and gives whole frames back.
class frames {
public:
    void add(const std::string& bytes) { unread_ += bytes; }
    bool next(std::string& content) {
        if (unread_.size() < 4) return false;
        std::size_t size = 0;
        for (std::size_t i = 0; i != 4; ++i)
            size = size << 8 | static_cast<unsigned char>(unread_[i]);
        if (unread_.size() - 4 < size) return false;
        content = unread_.substr(4, size);
        unread_.erase(0, 4 + size);
        return true;
    }

private:
    std::string unread_;
};

/// The same three frames, cut into two at each place in turn.
void framed(const pair_of_sockets& both, timeline& line) {
    const std::string stream = frame_of("one") + frame_of("") + frame_of("three");
    std::size_t right = 0, cut = 1;
    for (; cut < stream.size(); ++cut) {
        frames reader;
        std::string seen;
        for (const std::string& part : {stream.substr(0, cut), stream.substr(cut)}) {
            both.client.send(part);
            for (std::size_t got = 0; got != part.size();) {
                const std::string bytes = both.server.receive(part.size() - got);
                got += bytes.size();
                reader.add(bytes);
            }
            for (std::string content; reader.next(content);) seen += "[" + content + "]";
        }
        right += seen == "[one][][three]";
    }
    line.at("client", "sends three frames, cut at each of " + std::to_string(cut - 1) + " places");
    line.at("server", "reads [one][][three] " + std::to_string(right) + " times");
    line.holds("With a length in front of each message, no cut changes what is read.",
               right == stream.size() - 1);
}

void answer(timeline& line) {
    const pair_of_sockets both;
    merged_and_cut(both, line);
    partial_send(line);
    framed(both, line);
}

}  // namespace tcp_truth::framing
