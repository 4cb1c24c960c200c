// How spawn calls a callable with its arguments. It calls at once where the parameters own their
// arguments. Otherwise it keeps both until the child has ended.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <new>
#include <tuple>
#include <type_traits>
#include <utility>

#include <coro/core/detail/callable.hpp>
#include <coro/core/detail/hold.hpp>
#include <coro/core/detail/loan.hpp>
#include <coro/core/detail/loop.hpp>
#include <coro/core/task.hpp>

namespace coro { inline namespace v0 { namespace detail {

// --- the facts about the parameters

template <typename... Types>
struct type_list {};

/// The parameters of a function type, with any qualifiers.
template <typename Signature>
struct signature;
#define CORO_SIGNATURE(QUALIFIERS)                         \
    template <typename R, typename... Parameters>          \
    struct signature<R(Parameters...) QUALIFIERS> {        \
        using parameters = type_list<Parameters...>;       \
    }
CORO_SIGNATURE();
CORO_SIGNATURE(noexcept);
CORO_SIGNATURE(const);
CORO_SIGNATURE(const noexcept);
CORO_SIGNATURE(&);
CORO_SIGNATURE(& noexcept);
CORO_SIGNATURE(const&);
CORO_SIGNATURE(const& noexcept);
CORO_SIGNATURE(&&);
CORO_SIGNATURE(&& noexcept);
CORO_SIGNATURE(const&&);
CORO_SIGNATURE(const&& noexcept);
#undef CORO_SIGNATURE

/// The parameters of a callable; void: a template or a set of overloads, which nobody can look
/// into. Of a pointer to member, those beside the object.
template <typename Callable>
struct parameters_of {
    using type = void;
};
template <typename Function>
    requires std::is_function_v<Function>
struct parameters_of<Function*> {
    using type = typename signature<Function>::parameters;
};
template <typename Function, typename Class>
    requires std::is_function_v<Function>
struct parameters_of<Function Class::*> {
    using type = typename signature<Function>::parameters;
};
template <typename Object>
    requires requires { &Object::operator(); }
struct parameters_of<Object> : parameters_of<decltype(&Object::operator())> {};

/// A parameter that owns what it is made of, or that refers to what std::ref named: it needs
/// nothing of spawn's copy. Scalars of all types are copied.
template <typename Parameter, typename Kept>
inline constexpr bool owning_parameter =
    std::is_same_v<std::remove_cv_t<Parameter>, Kept> ||
    (std::is_scalar_v<Parameter> && std::is_scalar_v<Kept>);
template <typename Parameter, typename T>
inline constexpr bool owning_parameter<Parameter&, std::reference_wrapper<T>> =
    std::is_convertible_v<T*, Parameter*>;

/// How an argument is kept for a parameter: as its decayed self. Where the parameter is a reference
/// to another type, it is kept as that type. That would be a temporary, and die too early.
template <typename Parameter, typename Kept>
struct kept_argument {
    using type = Kept;
};
template <typename Parameter, typename Kept>
    requires(std::is_reference_v<Parameter> && !owning_parameter<Parameter, Kept> &&
             !std::is_convertible_v<Kept*, std::remove_reference_t<Parameter>*>)
struct kept_argument<Parameter, Kept> {
    using type = std::remove_cvref_t<Parameter>;
};

/// The facts about a call with these arguments.
template <typename Function, typename Parameters, typename... Kept>
struct call_of {
    static constexpr bool known = false;
    static constexpr bool at_once = false;
};
template <typename Function, typename... Parameters, typename... Kept>
    requires(!std::is_member_pointer_v<Function> && sizeof...(Parameters) == sizeof...(Kept))
struct call_of<Function, type_list<Parameters...>, Kept...> {
    static constexpr bool known = true;
    /// It may be called with copies that die after the call. (An object with state may not: its
    /// body refers to that.)
    static constexpr bool at_once = (std::is_pointer_v<Function> || std::is_empty_v<Function>) &&
                                    (owning_parameter<Parameters, Kept> && ...);
    using arguments = std::tuple<typename kept_argument<Parameters, Kept>::type...>;
};
template <typename Function, typename... Parameters, typename Object, typename... Kept>
    requires(std::is_member_pointer_v<Function> && sizeof...(Parameters) == sizeof...(Kept))
struct call_of<Function, type_list<Parameters...>, Object, Kept...> {
    static constexpr bool known = true;
    static constexpr bool at_once = false;
    using arguments = std::tuple<Object, typename kept_argument<Parameters, Kept>::type...>;
};
template <typename Function, typename... Kept>
using spawned_call = call_of<Function, typename parameters_of<Function>::type, Kept...>;

/// Whether a task refers to what its argument refers to. A parameter that owns what it is made of
/// does not.
template <typename Parameter, typename Kept>
inline constexpr bool borrows =
    referring<Kept> && (referring<std::remove_cvref_t<Parameter>> ||
                        (std::is_reference_v<Parameter> && is_reference_wrapper<Kept>));

/// The same for each argument of a call; where nobody knows the parameters, all of them do.
template <typename Function, typename Parameters, typename... Kept>
struct borrowing {
    static constexpr std::array<bool, sizeof...(Kept)> of{(sizeof(Kept) != 0)...};
};
template <typename Function, typename... Parameters, typename... Kept>
    requires(!std::is_member_pointer_v<Function> && sizeof...(Parameters) == sizeof...(Kept))
struct borrowing<Function, type_list<Parameters...>, Kept...> {
    static constexpr std::array<bool, sizeof...(Kept)> of{borrows<Parameters, Kept>...};
};
template <typename Function, typename... Parameters, typename Object, typename... Kept>
    requires(std::is_member_pointer_v<Function> && sizeof...(Parameters) == sizeof...(Kept))
struct borrowing<Function, type_list<Parameters...>, Object, Kept...> {
    static constexpr std::array<bool, sizeof...(Kept) + 1> of{true, borrows<Parameters, Kept>...};
};
template <typename Function, typename... Kept>
inline constexpr auto borrowed_arguments =
    borrowing<Function, typename parameters_of<Function>::type, Kept...>::of;

// --- std::invoke, whose header the library does without

template <typename Class, typename Object>
constexpr decltype(auto) object_of(Object&& object) {
    using plain = std::remove_cvref_t<Object>;
    if constexpr (std::is_same_v<Class, plain> || std::is_base_of_v<Class, plain>)
        return std::forward<Object>(object);
    else if constexpr (requires { static_cast<const Class&>(object.get()); } &&
                       !requires { *object; })
        return object.get();
    else return *std::forward<Object>(object);
}
template <typename Function, typename... Args>
constexpr decltype(auto) invoke_callable(Function&& function, Args&&... args) {
    return std::forward<Function>(function)(std::forward<Args>(args)...);
}
template <typename Member, typename Class, typename Object, typename... Args>
constexpr decltype(auto) invoke_callable(Member Class::*member, Object&& object,
                                                      Args&&... args) {
    return (object_of<Class>(std::forward<Object>(object)).*member)(std::forward<Args>(args)...);
}

// --- the parts of a child beside its task

/// Lives from the spawn of a child until its task has been destroyed.
class kept_base {
public:
    kept_base(const kept_base&) = delete;
    kept_base& operator=(const kept_base&) = delete;
    virtual ~kept_base() = default;

    static void* operator new(std::size_t size) { return allocate_block(size); }
    static void operator delete(void* memory, std::size_t size) noexcept {
        free_block(memory, size);
    }
    static void* operator new(std::size_t size, std::align_val_t alignment) {
        return ::operator new(size, alignment);
    }
    static void operator delete(void* memory, std::size_t, std::align_val_t alignment) noexcept {
        ::operator delete(memory, alignment);
    }

protected:
    kept_base() = default;
};

struct child_needs {
    std::unique_ptr<kept_base> call;  ///< on the child's loop
    std::unique_ptr<loan> loans;      ///< on the group's loop
};

/// A callable and its arguments. The task that it makes may refer to both.
template <typename Function, typename Arguments>
class kept_call final : public kept_base {
public:
    template <typename F, typename... A>
    explicit kept_call(std::in_place_t, F&& function, A&&... args)
        : function_(std::forward<F>(function)), args_(std::forward<A>(args)...) {}

    task<> make() {
        return make_with(std::make_index_sequence<std::tuple_size_v<Arguments>>());
    }

private:
    template <std::size_t... Index>
    task<> make_with(std::index_sequence<Index...>) {
        return detail::invoke_callable(std::move(function_), std::move(std::get<Index>(args_))...);
    }

    Function function_;
    Arguments args_;
};

/// A callable whose parameters nobody knows. Its call stands in an await, so that what is made of
/// the arguments for the call lives as long as they do.
template <typename Function, typename... Kept>
class unknown_call {
public:
    template <typename F, typename... A>
    explicit unknown_call(std::in_place_t, F&& function, A&&... args)
        : function_(std::forward<F>(function)), args_(std::forward<A>(args)...) {}

    static task<> run(unknown_call call) {
        return run_with(std::move(call), std::index_sequence_for<Kept...>());
    }

private:
    template <std::size_t... Index>
    static task<> run_with(unknown_call call, std::index_sequence<Index...>) {
        co_await std::move(call.function_)(std::get<Index>(std::move(call.args_))...);
    }

    Function function_;
    std::tuple<Kept...> args_;
};

// --- the calls that spawn refuses

template <typename First>
inline constexpr bool names_a_task_with_value = false;
template <typename T>
inline constexpr bool names_a_task_with_value<task<T>> = !std::is_void_v<T>;

/// Says what is wrong with a call of spawn. True: nothing is.
template <typename Function, typename... Kept>
consteval bool check_spawn() {
    if constexpr (task_type<Function>) {
        static_assert(!names_a_task_with_value<Function> || sizeof...(Kept) != 0,
                      "coro: nobody would see the value of this task: await it, or spawn a "
                      "task<> that hands the value out by a reference or a channel");
        static_assert(sizeof...(Kept) == 0,
                      "coro: a task has its arguments already: spawn it alone");
        return false;
    } else if constexpr (own_awaiter<Function>) {
        static_assert(!own_awaiter<Function>,
                      "coro: this operation would die before it ends: await it in a task<> of its "
                      "own, and spawn that");
        return false;
    } else if constexpr (is_closure<Function>() && !std::is_empty_v<Function>) {
        static_assert(std::is_empty_v<Function>,
                      "coro: spawn takes a function or a lambda that captures nothing, because "
                      "captures die before the task does: pass what it needs as arguments");
        return false;
    } else if constexpr (!std::is_invocable_v<Function, Kept...>) {
        static_assert(std::is_invocable_v<Function, Kept...>,
                      "coro: spawn cannot call this with these arguments: it hands over copies of "
                      "them, as std::thread does, so that a parameter T& needs std::ref(x) of an x "
                      "that outlives the group");
        return false;
    } else {
        using made = std::invoke_result_t<Function, Kept...>;
        static_assert(std::is_convertible_v<made, task<>> || task_type<made>,
                      "coro: this function returns no task: start a plain function with "
                      "spawn_fiber");
        static_assert(std::is_convertible_v<made, task<>> || !task_type<made>,
                      "coro: nobody would see the value of the task that this function returns: "
                      "await it, or spawn a task<> that hands the value out by a reference or a "
                      "channel");
        return std::is_convertible_v<made, task<>>;
    }
}

}}}  // namespace coro::v0::detail
