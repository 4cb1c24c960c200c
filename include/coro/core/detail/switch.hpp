// The jump from one stack to another.
#pragma once

namespace coro { inline namespace v0 { namespace detail {

/// jump_fcontext(context, self), without a call. A processor predicts each return by the latest
/// call that has not returned. A call on the other stack that returns later, or never, spoils
/// that for all returns of this one. It costs more than the jump itself.
[[gnu::always_inline]] inline void* jump_from_here(void* jump, void* context,
                                                   void* self) noexcept {
#if defined(__x86_64__)
    void* left = nullptr;
    asm volatile(
        "leaq -128(%%rsp), %%rsp\n\t"  // what a leaf function keeps below the stack pointer
        "leaq 1f(%%rip), %%rax\n\t"
        "pushq %%rax\n\t"
        "jmpq *%[jump]\n"
        "1:\n\t"
        "leaq 128(%%rsp), %%rsp"
        : "=&a"(left), "+D"(context), "+S"(self)
        : [jump] "b"(jump)
        : "rcx", "rdx", "r8", "r9", "r10", "r11", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4",
          "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
          "xmm15",
#if defined(__AVX512F__)
          "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24",
          "xmm25", "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31", "k1", "k2", "k3", "k4",
          "k5", "k6", "k7",
#endif
          "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)", "memory", "cc");
    return left;
#else
    return nullptr;  // never called: `jump` is set on x86-64 only
#endif
}

}}}  // namespace coro::v0::detail
