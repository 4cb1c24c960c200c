// How a std::stop_token and a scope tell each other.
#pragma once

#include <optional>
#include <stop_token>
#include <type_traits>
#include <utility>

#include <coro/base/error.hpp>
#include <coro/core/detail/scoped.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// Carries "stop" between a std::stop_token, which knows threads, and a scope, which knows its
/// loop. On the heap, because a post may be under way when the await ends: then the loop frees it.
class stop_post : public posted {
public:
    explicit stop_post(void (*on_arrival)(stop_post& self) noexcept) noexcept
        : arrived_(on_arrival) {
        run = &arrive;
    }
    stop_post(const stop_post&) = delete;
    stop_post& operator=(const stop_post&) = delete;

    /// Any thread, once.
    void send(detail::loop& to) noexcept {
        sent_ = true;
        to.post(*this);
    }
    /// The await has ended: nobody sends any more, and a sender on another thread has returned.
    /// ~stop_callback waits for that, hence sent_ is no atomic.
    void abandon() noexcept {
        abandoned_ = true;
        if (!sent_ || here_) delete this;
    }
    [[nodiscard]] bool abandoned() const noexcept { return abandoned_; }

protected:
    virtual ~stop_post() = default;

private:
    static void arrive(posted& work) noexcept {
        auto& self = static_cast<stop_post&>(work);
        self.here_ = true;
        self.arrived_(self);
        if (self.abandoned_) delete &self;
    }

    void (*arrived_)(stop_post& self) noexcept;
    bool sent_ = false;       ///< the sender's; read by abandon() only
    bool here_ = false;       ///< the loop's
    bool abandoned_ = false;  ///< the loop's
};

/// token -> scope.
class token_post final : public stop_post {
public:
    explicit token_post(cancel_scope& of) noexcept
        : stop_post([](stop_post& self) noexcept {
              if (!self.abandoned()) static_cast<token_post&>(self).scope.cancel();
          }),
          scope(of) {}

    cancel_scope& scope;
};

template <typename Inner>
class [[nodiscard("co_await it")]] stop_token_awaiter final
    : public scoped_awaiter<stop_token_awaiter<Inner>, Inner> {
    using base = scoped_awaiter<stop_token_awaiter<Inner>, Inner>;
    friend base;

public:
    stop_token_awaiter(std::stop_token token, Inner&& inner)
        : base(std::move(inner), false),
          token_(std::move(token)),
          post_(new token_post(this->scope())) {}
    ~stop_token_awaiter() {
        if (post_ != nullptr) post_->abandon();
    }

    auto await_resume() { return this->leave_and_resume_if_any(); }

    stop_token_awaiter relocated() {
        return stop_token_awaiter(std::move(token_), this->take_inner());
    }

private:
    struct sender {
        void operator()() const noexcept { post->send(*home); }
        token_post* post;
        detail::loop* home;
    };

    void opened() noexcept {
        if (token_.stop_requested()) this->scope().cancel();
        else if (token_.stop_possible()) {
            ++this->strand().loop->outside_waits;
            callback_.emplace(token_, sender{post_, this->strand().loop});
        }
    }
    void closing() noexcept {
        if (callback_) --this->strand().loop->outside_waits;
        callback_.reset();  // waits for a callback that runs on another thread right now
        std::exchange(post_, nullptr)->abandon();
    }

    std::stop_token token_;
    token_post* post_;
    std::optional<std::stop_callback<sender>> callback_;
};

/// scope -> source. The callbacks of the source are foreign code: they run from the loop's inbox,
/// never inside of a cancellation.
class source_post final : public stop_post, public stop_listener {
public:
    explicit source_post(std::stop_source to) noexcept
        : stop_post([](stop_post& self) noexcept {
              static_cast<source_post&>(self).source.request_stop();
          }),
          stop_listener([](stop_listener& told) noexcept {
              auto& self = static_cast<source_post&>(told);
              self.unlink();
              self.send(*self.home);
          }),
          source(std::move(to)) {
        also_on_cancel = true;
    }

    std::stop_source source;
    detail::loop* home = nullptr;
};

template <typename Inner>
class [[nodiscard("co_await it")]] stop_source_awaiter final
    : public scoped_awaiter<stop_source_awaiter<Inner>, Inner> {
    using base = scoped_awaiter<stop_source_awaiter<Inner>, Inner>;
    friend base;

public:
    stop_source_awaiter(std::stop_source source, Inner&& inner)
        : base(std::move(inner), false), post_(new source_post(std::move(source))) {}
    ~stop_source_awaiter() {
        if (post_ != nullptr) post_->abandon();
    }

    decltype(auto) await_resume() { return this->leave_and_resume(); }

    stop_source_awaiter relocated() {
        return stop_source_awaiter(post_->source, this->take_inner());
    }

private:
    void opened() noexcept {
        post_->home = this->strand().loop;
        if (this->scope().is_cancelled() || this->scope().stop_requested())
            post_->source.request_stop();
        else scope_access::attach(this->scope(), *post_);
    }
    void closing() noexcept {
        post_->unlink();
        std::exchange(post_, nullptr)->abandon();
    }

    source_post* post_;
};

template <typename Inner>
inline constexpr bool owns_operands<stop_token_awaiter<Inner>> = owns_operands<Inner>;
template <typename Inner>
inline constexpr bool returns_nothing<stop_token_awaiter<Inner>> =
    std::is_void_v<decltype(std::declval<Inner&>().await_resume())>;
template <typename Inner>
inline constexpr bool owns_operands<stop_source_awaiter<Inner>> = owns_operands<Inner>;

}}}  // namespace coro::v0::detail
