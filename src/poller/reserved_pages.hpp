// Memory of which only the addresses are taken until it is used.
#pragma once

#include <sys/mman.h>

#include <cstddef>

namespace coro { inline namespace v0 { namespace detail {

/// For pools that may become large: neither the system nor a sanitizer counts what was never
/// touched.
class reserved_pages {
public:
    reserved_pages() = default;
    reserved_pages(const reserved_pages&) = delete;
    reserved_pages& operator=(const reserved_pages&) = delete;
    ~reserved_pages() {
        if (data_ != nullptr) ::munmap(data_, size_);
    }

    /// Once. False: there is no room in the address space; errno says why.
    [[nodiscard]] bool reserve(std::size_t size) noexcept {
        void* const at = ::mmap(nullptr, size, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (at == MAP_FAILED) return false;
        // Where the system makes huge pages by itself, one touched buffer would make 2 MiB.
        ::madvise(at, size, MADV_NOHUGEPAGE);
        data_ = static_cast<std::byte*>(at);
        size_ = size;
        return true;
    }
    [[nodiscard]] std::byte* at(std::size_t offset) const noexcept { return data_ + offset; }

private:
    std::byte* data_ = nullptr;
    std::size_t size_ = 0;
};

}}}  // namespace coro::v0::detail
