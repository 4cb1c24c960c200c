// Names of Unix sockets: what is refused, how they read, and the kernel's layout.
#include <coro/net/local_address.hpp>

#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>
#include <string>

#include <gtest/gtest.h>

#include <coro/base/error.hpp>

namespace coro { inline namespace v0 {
namespace {

using net::local_address;

std::string refusal_of(local_address (*make)(std::string_view), std::string_view name) {
    try {
        static_cast<void>(make(name));
    } catch (const io_error& error) {
        EXPECT_TRUE(error == errc::bad_address);
        return error.what();
    }
    return "it was accepted";
}

TEST(local_address, names_say_what_they_are) {
    const local_address path = local_address::path("/run/x.sock");
    EXPECT_EQ(path.to_string(), "unix:/run/x.sock");
    EXPECT_EQ(path.name(), "/run/x.sock");
    EXPECT_FALSE(path.is_abstract());
    EXPECT_FALSE(path.is_unnamed());

    const local_address abstract = local_address::abstract("x.sock");
    EXPECT_EQ(abstract.to_string(), "unix:@x.sock");
    EXPECT_EQ(abstract.name(), "x.sock");
    EXPECT_TRUE(abstract.is_abstract());

    EXPECT_EQ(local_address().to_string(), "unix:(unnamed)");
    EXPECT_TRUE(local_address().is_unnamed());
    EXPECT_FALSE(local_address().is_abstract());
}

TEST(local_address, is_compared_by_kind_and_name) {
    EXPECT_EQ(local_address::path("x"), local_address::path("x"));
    EXPECT_NE(local_address::path("x"), local_address::path("y"));
    EXPECT_NE(local_address::path("x"), local_address::abstract("x"));
    EXPECT_NE(local_address::path("x"), local_address());
}

TEST(local_address, what_cannot_be_a_name_is_refused_with_a_reason) {
    EXPECT_EQ(refusal_of(&local_address::path, ""),
              "name a Unix socket \"\": the path is empty: not an address");
    EXPECT_EQ(refusal_of(&local_address::abstract, ""),
              "name a Unix socket \"\": the abstract name is empty: not an address");
    const std::string longest(local_address::longest_name, 'p');
    EXPECT_EQ(local_address::path(longest).name(), longest);
    EXPECT_EQ(local_address::abstract(longest).name(), longest);
    const std::string longer = longest + "p";
    EXPECT_EQ(refusal_of(&local_address::path, longer),
              "name a Unix socket \"" + longer +
                  "\": the path has 108 characters: at most 107 are allowed: not an address");
    EXPECT_EQ(refusal_of(&local_address::abstract, longer),
              "name a Unix socket \"" + longer +
                  "\": the abstract name has 108 characters: at most 107 are allowed: not an "
                  "address");
    EXPECT_EQ(refusal_of(&local_address::path, std::string_view("/run\0/x", 7)),
              "name a Unix socket \"/run\": a zero character follows, which no path may have: not "
              "an address");
    EXPECT_EQ(local_address::abstract(std::string_view("a\0b", 3)).name().size(), 3u);
}

/// A name comes from who binds it: in a log it must not look like a line of its own.
TEST(local_address, control_characters_do_not_show) {
    EXPECT_EQ(local_address::path("/run/a\nb\x7f").to_string(), "unix:/run/a?b?");
    EXPECT_EQ(local_address::abstract(std::string_view("a\0b", 3)).to_string(), "unix:@a?b");
    EXPECT_EQ(local_address::path("/run/\xc3\xa4").to_string(), "unix:/run/\xc3\xa4");
}

TEST(local_address, the_longest_text_has_room) {
    const std::string longest(local_address::longest_name, 'p');
    EXPECT_EQ(local_address::abstract(longest).to_string(), "unix:@" + longest);
}

TEST(local_address, has_the_layout_of_the_system) {
    for (const std::string& path :
         {std::string("x"), std::string("/run/x"), std::string(local_address::longest_name, 'p')}) {
        const local_address named = local_address::path(path);
        const detail::socket_address raw = detail::to_socket_address(named);
        sockaddr_un native{};
        ASSERT_LE(raw.size, sizeof native);
        std::memcpy(&native, raw.bytes.data(), raw.size);
        EXPECT_EQ(native.sun_family, AF_UNIX);
        EXPECT_EQ(std::string(native.sun_path), path);
        EXPECT_EQ(raw.size, offsetof(sockaddr_un, sun_path) + path.size() + 1);
        local_address back;
        ASSERT_TRUE(detail::from_socket_address(raw, back));
        EXPECT_EQ(back, named);
    }
    const local_address abstract = local_address::abstract("x");
    const detail::socket_address raw = detail::to_socket_address(abstract);
    EXPECT_EQ(raw.size, offsetof(sockaddr_un, sun_path) + 2);
    local_address back;
    ASSERT_TRUE(detail::from_socket_address(raw, back));
    EXPECT_EQ(back, abstract);
}

TEST(local_address, reads_what_a_kernel_may_say) {
    detail::socket_address raw;
    const sa_family_t family = AF_UNIX;
    std::memcpy(raw.bytes.data(), &family, sizeof family);
    local_address into = local_address::path("before");
    raw.size = sizeof family;
    ASSERT_TRUE(detail::from_socket_address(raw, into));
    EXPECT_TRUE(into.is_unnamed());
    // A path of 108 characters, and the final zero that getsockname(2) adds.
    std::memset(raw.bytes.data() + 2, 'p', 108);
    raw.size = 111;
    ASSERT_TRUE(detail::from_socket_address(raw, into));
    EXPECT_EQ(into.name(), std::string(108, 'p'));
    // Connecting there gives the system no more than a sockaddr_un, which it would refuse.
    EXPECT_EQ(detail::to_socket_address(into).size, sizeof(sockaddr_un));
    raw.size = 113;
    EXPECT_FALSE(detail::from_socket_address(raw, into));
    raw.size = 0;
    EXPECT_FALSE(detail::from_socket_address(raw, into));
}

}  // namespace
}}  // namespace coro::v0
