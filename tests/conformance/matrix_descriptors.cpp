// Drivers of the waits for readiness, on pipes.
#include <fcntl.h>
#include <unistd.h>

#include <array>

#include "matrix_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

class pipe_driver : public driver {
public:
    ~pipe_driver() override {
        for (const int end : ends_) ::close(end);
    }

protected:
    pipe_driver() { check(::pipe2(ends_.data(), O_CLOEXEC | O_NONBLOCK) == 0, "no pipe"); }

    [[nodiscard]] int reading() const { return ends_[0]; }
    [[nodiscard]] int writing() const { return ends_[1]; }

private:
    std::array<int, 2> ends_{-1, -1};
};

class readable_driver final : public pipe_driver {
public:
    task<> operate() override { co_await readable(reading()); }
    task<> complete() override {
        check(::write(writing(), "x", 1) == 1, "the pipe was full");
        ++written_;
        co_return;
    }
    task<> verify(const outcome& ended) override {
        if (ended.is(outcome_kind::value)) check(written_ != 0, "readable without a byte");
        if (written_ == 0) co_await complete();
        co_await readable(reading());
        std::array<char, 16> text{};
        check(::read(reading(), text.data(), text.size()) == written_, "a byte was taken");
    }

private:
    ssize_t written_ = 0;
};

class writable_driver final : public pipe_driver {
public:
    task<> prepare(ending) override {
        while (::write(writing(), text_.data(), text_.size()) > 0) {}
        co_return;
    }
    task<> operate() override { co_await writable(writing()); }
    task<> complete() override {
        while (::read(reading(), text_.data(), text_.size()) > 0) {}
        emptied_ = true;
        co_return;
    }
    task<> verify(const outcome& ended) override {
        if (ended.is(outcome_kind::value)) check(emptied_, "writable without room");
        co_await complete();
        co_await writable(writing());
        check(::write(writing(), "x", 1) == 1, "writable, but there was no room");
    }

private:
    std::array<char, 4096> text_{};
    bool emptied_ = false;
};

}  // namespace

std::vector<point> descriptor_points() {
    return {make_point<readable_driver>("coro::readable", "an empty pipe"),
            make_point<writable_driver>("coro::writable", "a full pipe")};
}

}}}  // namespace coro::v0::detail::conformance
