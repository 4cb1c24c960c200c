// io_error is compared with every kind of code that it may hold, in both orders.
#include <coro/base/error.hpp>

#include <cerrno>
#include <future>
#include <system_error>
#include <type_traits>

#include <gtest/gtest.h>

#include <coro/base/result.hpp>

namespace coro {
namespace {

static_assert(std::is_nothrow_copy_constructible_v<io_error>);

/// All four ways to compare agree.
template <typename Code>
bool equals(const io_error& error, const Code& code) {
    const bool same = error == code;
    EXPECT_EQ(code == error, same);
    EXPECT_EQ(error != code, !same);
    EXPECT_EQ(code != error, !same);
    return same;
}

TEST(io_error, is_compared_with_the_codes_of_the_library) {
    const io_error late(errc::deadline_exceeded, "with_timeout");
    EXPECT_TRUE(equals(late, errc::deadline_exceeded));
    EXPECT_FALSE(equals(late, errc::closed));
    EXPECT_FALSE(equals(late, std::errc::timed_out)) << "which means that the peer did not answer";
    EXPECT_TRUE(equals(late, make_error_code(errc::deadline_exceeded)));
    EXPECT_FALSE(equals(late, std::error_code()));
    EXPECT_TRUE(equals(late, make_error_code(errc::deadline_exceeded).default_error_condition()));
}

TEST(io_error, is_compared_with_what_the_kernel_says) {
    const io_error refused(std::error_code(ECONNREFUSED, std::generic_category()), "connect");
    EXPECT_TRUE(equals(refused, std::errc::connection_refused));
    EXPECT_FALSE(equals(refused, std::errc::connection_reset));
    EXPECT_FALSE(equals(refused, errc::closed));
    EXPECT_TRUE(equals(refused, std::make_error_code(std::errc::connection_refused)));
    EXPECT_TRUE(equals(refused, std::make_error_condition(std::errc::connection_refused)));
    // The same number in another category is another code, but the same condition.
    EXPECT_FALSE(equals(refused, std::error_code(ECONNREFUSED, std::system_category())));
    const io_error by_system(std::error_code(ECONNREFUSED, std::system_category()), "connect");
    EXPECT_TRUE(equals(by_system, std::errc::connection_refused));
    // The numbers of the library mean nothing there: errc::closed is 1, and so is EPERM.
    EXPECT_FALSE(equals(io_error(errc::closed, "read"), std::errc::operation_not_permitted));
    EXPECT_FALSE(equals(io_error(std::error_code(1, std::generic_category()), "read"),
                        errc::closed));
}

TEST(io_error, is_compared_with_the_codes_of_others) {
    const io_error other(std::make_error_code(std::future_errc::no_state), "get");
    EXPECT_TRUE(equals(other, std::future_errc::no_state));
    EXPECT_FALSE(equals(other, std::io_errc::stream));
}

TEST(io_error, may_be_made_with_an_empty_endpoint_in_braces) {
    const io_error braced(errc::closed, "read", {});
    EXPECT_EQ(braced.endpoint(), "");
    EXPECT_STREQ(braced.what(), "read: closed while in use");
    const io_error counted(errc::closed, "read", {}, 3);
    EXPECT_EQ(counted.bytes_transferred(), 3u);
}

TEST(io_error, may_say_more_than_it_has_as_an_endpoint) {
    const io_error late(errc::deadline_exceeded, "with_timeout", detail::error_text("of 5 s"));
    EXPECT_EQ(late.endpoint(), "");
    EXPECT_STREQ(late.what(), "with_timeout of 5 s: deadline exceeded");
}

TEST(io_error, of_a_result_is_compared_too) {
    const result<int> none(io_error(errc::end_of_stream, "read_exact"));
    EXPECT_TRUE(none.error() == errc::end_of_stream);
    EXPECT_TRUE(none.error() != errc::closed);
}

}  // namespace
}  // namespace coro
