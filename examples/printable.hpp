// printable: what a peer has sent, as one line for a terminal.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

/// Without the line end, which nc sends along. Control characters become dots: a peer must not
/// steer the terminal of others.
inline std::string printable(std::string_view text) {
    std::string line(text.substr(0, text.find_last_not_of("\r\n") + 1));
    unsigned char before = 0;
    for (std::size_t at = 0; at < line.size(); ++at) {
        const auto code = static_cast<unsigned char>(line[at]);
        if (code < 0x20 || code == 0x7f) line[at] = '.';
        // 0xC2 0x80 to 0xC2 0x9F are the control characters that UTF-8 adds.
        if (before == 0xc2 && code >= 0x80 && code < 0xa0) line[at - 1] = line[at] = '.';
        before = code;
    }
    return line;
}
