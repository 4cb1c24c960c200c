// endpoint: its text both ways, with inet_pton and inet_ntop as the oracle, and its layouts.
#include <coro/net/address.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_set>
#include <vector>

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace coro::net {
namespace {

static_assert(std::is_trivially_copyable_v<endpoint>);
static_assert(std::is_trivially_destructible_v<endpoint>);

// What address.cpp knows without the system's headers.
static_assert(AF_INET == 2 && AF_INET6 == 10);
static_assert(sizeof(sockaddr_in) == 16 && sizeof(sockaddr_in6) == 28 && sizeof(sa_family_t) == 2);
static_assert(offsetof(sockaddr_in, sin_port) == 2 && offsetof(sockaddr_in, sin_addr) == 4);
static_assert(offsetof(sockaddr_in6, sin6_port) == 2 && offsetof(sockaddr_in6, sin6_addr) == 8);
static_assert(offsetof(sockaddr_in6, sin6_scope_id) == 24);

endpoint parsed(std::string_view text) { return endpoint::parse(text).value(); }

std::string why_not(std::string_view text) {
    const auto answer = endpoint::parse(text);
    return answer.has_value() ? "it parsed" : answer.error().what();
}

/// A random IPv6 address with many zero groups, so that compression has something to do.
std::array<std::uint8_t, 16> random_v6(std::mt19937& random) {
    std::array<std::uint8_t, 16> bytes{};
    for (std::size_t i = 0; i < 16; i += 2) {
        const auto kind = random() % 4;
        if (kind >= 1) bytes[i + 1] = static_cast<std::uint8_t>(random() % (kind == 1 ? 1 : 256));
        if (kind == 3) bytes[i] = static_cast<std::uint8_t>(random());
    }
    return bytes;
}

detail::socket_address v6_address(const std::array<std::uint8_t, 16>& bytes, std::uint16_t port) {
    sockaddr_in6 native{};
    native.sin6_family = AF_INET6;
    native.sin6_port = htons(port);
    std::memcpy(&native.sin6_addr, bytes.data(), 16);
    detail::socket_address address;
    std::memcpy(address.bytes.data(), &native, sizeof native);
    address.size = sizeof native;
    return address;
}

TEST(endpoint, reads_and_writes_random_ipv4) {
    std::mt19937 random(1);
    for (int i = 0; i < 2'000; ++i) {
        const std::uint32_t number = htonl(static_cast<std::uint32_t>(random()));
        const auto port = static_cast<std::uint16_t>(random());
        std::array<char, INET_ADDRSTRLEN> buffer{};
        ASSERT_NE(inet_ntop(AF_INET, &number, buffer.data(), buffer.size()), nullptr);
        const std::string text = std::string(buffer.data()) + ":" + std::to_string(port);
        const endpoint where = parsed(text);
        EXPECT_EQ(where.to_string(), text);
        EXPECT_EQ(where.family(), ip_family::ipv4);
        EXPECT_EQ(where.port(), port);

        sockaddr_in native{};
        const detail::socket_address address = detail::to_socket_address(where);
        ASSERT_EQ(address.size, sizeof native);
        std::memcpy(&native, address.bytes.data(), sizeof native);
        EXPECT_EQ(native.sin_family, AF_INET);
        EXPECT_EQ(native.sin_addr.s_addr, number);
        EXPECT_EQ(ntohs(native.sin_port), port);
    }
}

TEST(endpoint, reads_and_writes_random_ipv6) {
    std::mt19937 random(2);
    for (int i = 0; i < 3'000; ++i) {
        const auto bytes = random_v6(random);
        std::array<char, INET6_ADDRSTRLEN> buffer{};
        ASSERT_NE(inet_ntop(AF_INET6, bytes.data(), buffer.data(), buffer.size()), nullptr);
        const std::string oracle = "[" + std::string(buffer.data()) + "]:443";
        endpoint where;
        ASSERT_TRUE(detail::from_socket_address(v6_address(bytes, 443), where));
        // The system still writes the deprecated IPv4-compatible form (::1.2.3.4) dotted.
        const bool dotted = oracle.find('.') != std::string::npos;
        if (!dotted) {
            EXPECT_EQ(where.to_string(), oracle);
        }
        EXPECT_EQ(parsed(oracle), where) << oracle;
        EXPECT_EQ(parsed(where.to_string()), where);
        const detail::socket_address back = detail::to_socket_address(where);
        EXPECT_EQ(back.bytes, v6_address(bytes, 443).bytes);
    }
}

/// What is IPv6 text and what is not: the system's opinion of random texts of the right letters.
TEST(endpoint, agrees_with_inet_pton_on_random_text) {
    std::mt19937 random(3);
    const std::vector<std::string> parts = {":",    "::",    "0",       "1", "ab",
                                            "ffff", "12345", "1.2.3.4", "g"};
    int good = 0;
    for (int i = 0; i < 5'000; ++i) {
        std::string text;
        for (std::size_t n = 1 + random() % 9; n > 0; --n) {
            text += parts[random() % 16 < 12 ? 1 + random() % 5 : random() % parts.size()];
            if (n > 1 && !text.ends_with(':')) text += ":";
        }
        in6_addr oracle{};
        const bool system = inet_pton(AF_INET6, text.c_str(), &oracle) == 1;
        const auto ours = endpoint::parse("[" + text + "]:1");
        EXPECT_EQ(ours.has_value(), system) << text;
        good += system ? 1 : 0;
    }
    EXPECT_GT(good, 100);
}

TEST(endpoint, writes_the_canonical_text_of_rfc_5952) {
    const std::vector<std::array<std::string_view, 2>> examples = {
        {"2001:0db8::0001", "2001:db8::1"},                     // §4.1 leading zeros
        {"2001:db8:0:0:0:0:2:1", "2001:db8::2:1"},              // §4.2.1 as short as possible
        {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},       // §4.2.2 never one group alone
        {"2001:db8::1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},        // the same, read
        {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},                // §4.2.3 the longest run
        {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},          // §4.2.3 the first of equals
        {"2001:DB8:AAAA:BBBB:CCCC:DDDD:EEEE:1", "2001:db8:aaaa:bbbb:cccc:dddd:eeee:1"},  // §4.3
        {"0:0:0:0:0:ffff:192.0.2.1", "::ffff:192.0.2.1"},       // §5 v4-mapped
        {"::ffff:c000:201", "::ffff:192.0.2.1"},
        {"0:0:0:0:0:0:0:0", "::"},
        {"::1.2.3.4", "::102:304"},
        {"1:0:0:0:0:0:0:0", "1::"},
        {"1:2:3:4:5:6:0:0", "1:2:3:4:5:6::"},
        {"0:0:3:4:5:6:7:8", "::3:4:5:6:7:8"},
    };
    for (const auto& [text, canonical] : examples) {
        const auto in_brackets = [](std::string_view address) {
            return "[" + std::string(address) + "]:65535";
        };
        EXPECT_EQ(parsed(in_brackets(text)).to_string(), in_brackets(canonical));
    }
}

TEST(endpoint, the_network_of_an_address_is_what_one_client_may_have) {
    const auto network = [](std::string_view text) {
        return parsed(text).network();
    };
    EXPECT_EQ(network("192.0.2.7:80"), network("192.0.2.7:81"));
    EXPECT_NE(network("192.0.2.7:80"), network("192.0.2.8:80"));
    EXPECT_EQ(network("[::ffff:192.0.2.7]:80"), network("192.0.2.7:80")) << "v4-mapped";
    EXPECT_NE(network("[::ffff:192.0.2.7]:80"), network("[::ffff:192.0.2.8]:80"));
    EXPECT_EQ(network("[2001:db8:1:2:3:4:5:6]:80"), network("[2001:db8:1:2::]:9"));
    EXPECT_NE(network("[2001:db8:1:2::1]:80"), network("[2001:db8:1:3::1]:80"));
    EXPECT_NE(network("[fe80::1%1]:80"), network("[fe80::1%2]:80")) << "another link";
}

TEST(endpoint, knows_the_addresses_of_this_machine_only) {
    for (const char* text : {"127.0.0.1:80", "127.255.0.9:80", "[::1]:80", "[::ffff:127.0.0.1]:80"})
        EXPECT_TRUE(parsed(text).is_loopback()) << text;
    for (const char* text : {"128.0.0.1:80", "0.0.0.0:80", "[::]:80", "[::2]:80", "[1::1]:80",
                             "[::ffff:10.0.0.127]:80", "[::127.0.0.1]:80"})
        EXPECT_FALSE(parsed(text).is_loopback()) << text;
}

TEST(endpoint, shows_the_offending_part) {
    struct example {
        std::string_view text;
        std::string_view told;  ///< between the text and "not an address"
    };
    const std::vector<example> examples = {
        {"", "is empty (write 127.0.0.1:80 or [::1]:80)"},
        {"127.0.0.1", "has no port (write it after a colon, as in 127.0.0.1:80)"},
        {"localhost:80", "\"localhost\" looks like a host name, and names are not looked up "
                         "(write 127.0.0.1 or [::1])"},
        {"db-1.example.com:80", "\"db-1.example.com\" looks like a host name, and names are not "
                                "looked up (write its IP address)"},
        {"localhost", "looks like a host name, and names are not looked up (write 127.0.0.1 or "
                      "[::1])"},
        {":80", "has no address before the port (write 127.0.0.1:80 for this machine, 0.0.0.0:80 "
                "for all its interfaces)"},
        {"80", "looks like a port alone (write the address before it: 127.0.0.1:80 for this "
               "machine, 0.0.0.0:80 for all its interfaces)"},
        {"unix:/x", "looks like the path of a Unix socket, which coro does not have (write an IP "
                    "address and a port, as in 127.0.0.1:80)"},
        {"/run/x.sock", "looks like the path of a Unix socket, which coro does not have (write an "
                        "IP address and a port, as in 127.0.0.1:80)"},
        {"http://1.2.3.4:80/", "looks like a URL (write address and port alone, as in "
                               "127.0.0.1:80)"},
        {"127.0.0.256:80", "\"256\" is above 255"},
        {"127.0.0.99999999999:80", "\"99999999999\" is above 255"},
        {"127.0.0.01:80", "\"01\" has a leading zero"},
        {"127.0..1:80", "\"\" is empty where a number must be"},
        {"127.0.0x1.1:80", "\"0x1\" is not a decimal number"},
        {" 127.0.0.1:80", "\" 127\" is not a decimal number"},
        {"1.2.3:80", "\"1.2.3\" does not have four numbers"},
        {"1.2.3.4.5:80", "\"1.2.3.4.5\" does not have four numbers"},
        {"1.2.3.4:", "\"\" is empty where the port must be"},
        {"1.2.3.4:65536", "\"65536\" is above 65535, the last port"},
        {"1.2.3.4:70000", "\"70000\" is above 65535, the last port"},
        {"1.2.3.4:080", "\"080\" has a leading zero"},
        {"1.2.3.4:+80", "\"+80\" is not a decimal number"},
        {"1.2.3.4:80 ", "\"80 \" is not a decimal number"},
        {"1.2.3.4:http", "\"http\" looks like the name of a service (write the number of its "
                         "port, 80 for http)"},
        {"::1:80", "is IPv6 without brackets (write them, as in [::1]:80)"},
        {"fe80::1", "is IPv6 without brackets (write them, as in [::1]:80)"},
        {"[::1:80", "has no closing bracket"},
        {"[::1]", "has no port (write it after the bracket, as in [::1]:80)"},
        {"[::1]80", "\"80\" stands where \":port\" must"},
        {"[::1]:", "\"\" is empty where the port must be"},
        {"[]:80", "\"\" is empty where an address must be"},
        {"[1:2:3:4:5:6:7]:80", "\"1:2:3:4:5:6:7\" has fewer than eight groups"},
        {"[1:2:3:4:5:6:7:8:9]:80", "\"1:2:3:4:5:6:7:8:9\" has more than eight groups"},
        {"[1:2:3:4::5:6:7:8]:80", "\"1:2:3:4::5:6:7:8\" has eight groups and \"::\" as well"},
        {"[1::2::3]:80", "\"1::2::3\" has \"::\" twice"},
        {"[1:::2]:80", "\"1:::2\" has three colons in a row"},
        {"[:1::2]:80", "\":1::2\" begins with a single colon"},
        {"[1::2:]:80", "\"1::2:\" ends with a single colon"},
        {"[12345::]:80", "\"12345\" has more than four hexadecimal digits"},
        {"[fg::1]:80", "\"fg\" is not a hexadecimal number"},
        {"[1::-2]:80", "\"-2\" is not a hexadecimal number"},
        {"[::1.2.3.4:5]:80", "\"1.2.3.4\" may only stand at the end"},
        {"[::ffff:1.2.3.400]:80", "\"400\" is above 255"},
        {"[fe80::1%]:80", "\"\" is empty where the interface must be"},
        {"[fe80::1%4294967296]:80", "\"4294967296\" is above 4294967295"},
        {"[fe80::1%no_such_0]:80", "\"no_such_0\" is no interface of this machine"},
        {"[fe80::1%a_name_beyond_any_limit]:80",
         "\"a_name_beyond_any_li...\" is no interface of this machine"},
    };
    for (const example& one : examples) {
        const bool whole = one.told.front() != '"';
        const std::string expected = "parse address \"" + std::string(one.text) + "\"" +
                                     (whole ? " " : ": ") + std::string(one.told) +
                                     ": not an address";
        EXPECT_EQ(why_not(one.text), expected);
        EXPECT_EQ(endpoint::parse(one.text).error().code(), errc::bad_address);
        EXPECT_EQ(endpoint::parse(one.text).error().endpoint(), "");
    }
}

TEST(endpoint, shows_foreign_bytes_harmlessly_and_cuts_long_text) {
    EXPECT_EQ(why_not("1.2.3.4:8\x1b[0m"),
              "parse address \"1.2.3.4:8\\x1b[0m\": \"8\\x1b[0m\" is not a decimal number: "
              "not an address");
    const std::string nul("[fe80::1%lo\0]:80", 16);
    EXPECT_NE(why_not(nul).find("lo\\x00\" is no interface"), std::string::npos);
    const std::string message = why_not(std::string(10'000, 'x'));
    EXPECT_LT(message.size(), 250u);
    EXPECT_NE(message.find("xxx...\" looks like a host name"), std::string::npos);
}

TEST(endpoint, knows_scopes_by_number_and_by_name) {
    EXPECT_EQ(parsed("[fe80::1%2]:80").to_string(), "[fe80::1%2]:80");
    EXPECT_EQ(parsed("[fe80::1%4294967295]:80").to_string(), "[fe80::1%4294967295]:80");
    EXPECT_EQ(parsed("[fe80::1%0]:80").to_string(), "[fe80::1]:80");
    EXPECT_NE(parsed("[fe80::1%2]:80"), parsed("[fe80::1%3]:80"));

    const unsigned index = if_nametoindex("lo");
    ASSERT_NE(index, 0u) << "a Linux without the interface lo";
    const endpoint named = parsed("[fe80::1%lo]:80");
    EXPECT_EQ(named.to_string(), "[fe80::1%" + std::to_string(index) + "]:80");
    sockaddr_in6 native{};
    std::memcpy(&native, detail::to_socket_address(named).bytes.data(), sizeof native);
    EXPECT_EQ(native.sin6_scope_id, index);
    endpoint back;
    ASSERT_TRUE(detail::from_socket_address(detail::to_socket_address(named), back));
    EXPECT_EQ(back, named);
}

TEST(endpoint, has_factories) {
    EXPECT_EQ(endpoint::loopback(80).to_string(), "127.0.0.1:80");
    EXPECT_EQ(endpoint::loopback_v6(80).to_string(), "[::1]:80");
    EXPECT_EQ(endpoint::any(0).to_string(), "0.0.0.0:0");
    EXPECT_EQ(endpoint::any_v6(65535).to_string(), "[::]:65535");
    EXPECT_EQ(endpoint(), endpoint::any(0));
    EXPECT_EQ(endpoint::loopback(80).with_port(81), parsed("127.0.0.1:81"));
}

TEST(endpoint, fits_its_longest_text) {
    const std::string longest = "[1111:2222:3333:4444:5555:6666:7777:8888%4294967295]:65535";
    EXPECT_EQ(parsed(longest).to_string(), longest);
    EXPECT_LE(longest.size(), endpoint::text_capacity);
    std::array<char, endpoint::text_capacity - 1> small{};
    EXPECT_DEATH(endpoint().to_text(small), "text_capacity");
}

TEST(endpoint, compares_and_hashes_all_it_consists_of) {
    const std::vector<endpoint> different = {
        parsed("1.2.3.4:5"),   parsed("1.2.3.4:6"),     parsed("1.2.3.5:5"),
        parsed("[102:304::]:5"), parsed("[::ffff:1.2.3.4]:5"), parsed("[102:304::%1]:5"),
    };
    std::unordered_set<endpoint> set(different.begin(), different.end());
    EXPECT_EQ(set.size(), different.size());
    std::unordered_set<std::size_t> hashes;
    for (const endpoint& one : different) hashes.insert(std::hash<endpoint>()(one));
    EXPECT_EQ(hashes.size(), different.size());
    EXPECT_EQ(std::hash<endpoint>()(parsed("1.2.3.4:5")), different[0].hash());
    EXPECT_LT(parsed("9.0.0.1:9"), parsed("10.0.0.1:1"));
    EXPECT_LT(parsed("10.0.0.1:9"), parsed("10.0.0.1:10"));
    EXPECT_LT(parsed("255.0.0.1:9"), parsed("[::1]:1"));
}

TEST(endpoint, refuses_foreign_socket_addresses) {
    endpoint into = endpoint::loopback(7);
    detail::socket_address local;
    const sa_family_t family = AF_UNIX;
    std::memcpy(local.bytes.data(), &family, sizeof family);
    local.size = 28;
    EXPECT_FALSE(detail::from_socket_address(local, into));
    detail::socket_address cut = detail::to_socket_address(endpoint::loopback_v6(1));
    cut.size = 16;
    EXPECT_FALSE(detail::from_socket_address(cut, into));
    EXPECT_FALSE(detail::from_socket_address({}, into));
    EXPECT_EQ(into, endpoint::loopback(7));
}

}  // namespace
}  // namespace coro::net
