# What coro's own targets are compiled with. Everything here is PRIVATE to the target it is said of:
# nothing reaches a parent project, and nothing is exported.

# The flags, kept on one interface target. Our targets copy them from it and do not link it, so that
# no exported target needs it.
add_library(coro_own_flags INTERFACE)
if(PROJECT_IS_TOP_LEVEL)
    target_compile_options(coro_own_flags INTERFACE
        -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror)
endif()

if(CORO_SANITIZE STREQUAL "address")
    set(_coro_sanitize
        -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
elseif(CORO_SANITIZE STREQUAL "thread")
    set(_coro_sanitize -fsanitize=thread -fno-omit-frame-pointer)
elseif(CORO_SANITIZE STREQUAL "")
    set(_coro_sanitize)
else()
    message(FATAL_ERROR "CORO_SANITIZE is '${CORO_SANITIZE}': it must be empty, address or thread.")
endif()
target_compile_options(coro_own_flags INTERFACE ${_coro_sanitize})
target_link_options(coro_own_flags INTERFACE ${_coro_sanitize})
unset(_coro_sanitize)

# coro_own_target(NAME): warnings, sanitizers and standard of one of our own targets.
function(coro_own_target name)
    set_target_properties(${name} PROPERTIES CXX_EXTENSIONS OFF)
    target_compile_options(${name} PRIVATE
        $<TARGET_PROPERTY:coro_own_flags,INTERFACE_COMPILE_OPTIONS>)
    target_link_options(${name} PRIVATE
        $<TARGET_PROPERTY:coro_own_flags,INTERFACE_LINK_OPTIONS>)
endfunction()
