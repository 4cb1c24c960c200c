#include <coro/net/readiness.hpp>

#include <array>
#include <charconv>
#include <cstring>
#include <string_view>

#include "net/io_failure.hpp"
#include "runtime/scheduler.hpp"

namespace coro { inline namespace v0 { namespace detail {
namespace {

/// "fd 7"
class descriptor_text {
public:
    explicit descriptor_text(int descriptor) noexcept {
        std::memcpy(text_.data(), prefix.data(), prefix.size());
        end_ = std::to_chars(text_.data() + prefix.size(), text_.data() + text_.size(), descriptor)
                   .ptr;
    }
    [[nodiscard]] std::string_view view() const noexcept { return {text_.data(), end_}; }

private:
    static constexpr std::string_view prefix = "fd ";

    std::array<char, 16> text_;
    char* end_;
};

}  // namespace

bool readiness_awaiter::start() noexcept {
    set_outcome(wait_outcome::done);  // whatever becomes of it is in `result`
    result = scheduler_of(loop()).poller().watch(descriptor_, target);
    return result == 0 && submit_io(*this, strand());
}

void readiness_awaiter::finish() const {
    if (result >= 0) return;
    if (result == -ECANCELED) throw_cancelled();
    throw io_error(error_of(result), verb(), descriptor_text(descriptor_).view());
}

void readiness_awaiter::throw_cancelled() const {
    throw cancelled(0, descriptor_text(descriptor_).view());
}

void readiness_awaiter::describe(text_sink& out) const noexcept {
    out.write(verb());
    out.write(" ");
    out.write(descriptor_text(descriptor_).view());
}

}}}  // namespace coro::v0::detail
