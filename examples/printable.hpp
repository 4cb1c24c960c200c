// printable: what a peer has sent, as one line for a terminal.
#pragma once

#include <string>
#include <string_view>

/// Without the line end, which nc sends along. Control characters become dots: a peer must not
/// steer the terminal of others.
inline std::string printable(std::string_view text) {
    std::string line(text.substr(0, text.find_last_not_of("\r\n") + 1));
    for (char& each : line)
        if (static_cast<unsigned char>(each) < ' ' || each == '\x7f') each = '.';
    return line;
}
