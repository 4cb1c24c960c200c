// redis_codec: commands and replies of Redis. hiredis encodes the ones and parses the others. It
// never sees a socket: the bytes move over the streams of this library.
#pragma once

#include <coro/coro.hpp>
#include <coro/net/buffered_stream.hpp>

#include <hiredis/hiredis.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

using redis_command = std::vector<std::string>;

/// What Redis has refused. The connection is as good as before.
struct redis_error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// A reply, also `-ERR …`, which is no error of the exchange: value() throws it as a redis_error.
/// Call that where the connection has been given back, because an exception would close it.
class redis_reply {
public:
    explicit redis_reply(void* of) noexcept : reply_(static_cast<redisReply*>(of)) {}

    [[nodiscard]] bool is_error() const noexcept { return reply_->type == REDIS_REPLY_ERROR; }
    /// The text of a string, a status or an error.
    [[nodiscard]] std::string_view text() const noexcept {
        if (reply_->str == nullptr) return {};
        return {reply_->str, reply_->len};
    }
    /// For all else, such as arrays. Throws: redis_error.
    [[nodiscard]] const redisReply& value() const {
        if (is_error()) throw redis_error("redis: " + std::string(text()));
        return *reply_;
    }

private:
    struct freed {
        void operator()(redisReply* of) const noexcept { freeReplyObject(of); }
    };
    std::unique_ptr<redisReply, freed> reply_;
};

/// The codec of a coro::shared_connection and of a redis_connection.
struct redis_codec {
    using request = redis_command;
    using reply = redis_reply;
    /// A server that is no Redis must not use up the memory: hiredis allocates what a header says.
    static constexpr std::size_t most_bytes = 64 << 20;
    static constexpr std::size_t most_elements = 1 << 20;

    static void encode(const redis_command& what, std::string& to) {
        std::vector<const char*> words;
        std::vector<std::size_t> sizes;
        for (const std::string& word : what) {
            words.push_back(word.data());
            sizes.push_back(word.size());
        }
        char* made = nullptr;
        const auto size = redisFormatCommandArgv(&made, static_cast<int>(words.size()),
                                                 words.data(), sizes.data());
        if (size < 0) throw std::bad_alloc();
        const std::unique_ptr<char, decltype(&redisFreeCommand)> owner(made, &redisFreeCommand);
        to.append(made, static_cast<std::size_t>(size));
    }

    static coro::task<redis_reply> read(coro::net::buffered_stream& from) {
        return read(from, nullptr);
    }
    /// Takes the bytes of one reply and no more: a line, and what a `$` says of the bytes behind
    /// it. hiredis says when the reply is whole. A parser for each reply: what was cut is
    /// forgotten.
    static coro::task<redis_reply> read(coro::net::buffered_stream& from,
                                        const coro::net::stream* peer) {
        const std::unique_ptr<redisReader, decltype(&redisReaderFree)> parser(redisReaderCreate(),
                                                                              &redisReaderFree);
        if (!parser) throw std::bad_alloc();
        std::size_t taken = 0;
        for (;;) {
            const std::string_view line = co_await from.read_until("\r\n");
            std::size_t rest = size_behind(line);
            taken += line.size() + rest;
            if (taken > most_bytes || (line[0] == '*' && number_in(line) > most_elements))
                throw coro::io_error(coro::errc::limit_exceeded, "read reply", name_of(peer));
            redisReaderFeed(parser.get(), line.data(), line.size());
            while (rest > 0) {  // also more than the buffer may hold
                const auto part = co_await from.read_exact(std::min(rest, from.limit()));
                const std::string_view text = coro::as_text(part);
                redisReaderFeed(parser.get(), text.data(), text.size());
                rest -= text.size();
            }
            void* whole = nullptr;
            if (redisReaderGetReply(parser.get(), &whole) != REDIS_OK)
                throw coro::io_error(std::make_error_code(std::errc::protocol_error), "read reply",
                                     name_of(peer) + " (" + parser->errstr + ")");
            if (whole != nullptr) co_return redis_reply(whole);
        }
    }

private:
    /// The number behind the first character; 0 for -1, and where there is none: hiredis refuses
    /// it.
    static std::size_t number_in(std::string_view line) {
        std::size_t value = 0;
        const char* const last = line.data() + line.size();
        const auto [end, error] = std::from_chars(line.data() + 1, last, value);
        return error == std::errc::result_out_of_range ? most_bytes : value;
    }
    static std::size_t size_behind(std::string_view line) {
        return line[0] == '$' && line[1] != '-' ? std::min(number_in(line), most_bytes) + 2 : 0;
    }
    static std::string name_of(const coro::net::stream* peer) {
        return peer == nullptr ? "redis" : peer->describe();
    }
};
