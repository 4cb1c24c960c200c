# Refuses compilers that cannot compile or would miscompile coroutines; one sentence that names the
# cure.
string(CONCAT _coro_advice "install clang-19 (apt-get install clang-19) "
    "and configure with -DCMAKE_CXX_COMPILER=clang++-19")
set(_coro_this "${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}")

if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    set(_coro_oldest 12.2)
elseif(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    set(_coro_oldest 16)
else()
    message(FATAL_ERROR
        "coro knows g++ 12.2 or newer and clang 16 or newer, not ${_coro_this}: ${_coro_advice}.")
endif()
if(CMAKE_CXX_COMPILER_VERSION VERSION_LESS _coro_oldest)
    message(FATAL_ERROR
        "coro needs g++ 12.2 or clang 16, or newer, and this is ${_coro_this}: ${_coro_advice}.")
endif()
if(NOT CMAKE_SYSTEM_NAME STREQUAL "Linux")
    message(FATAL_ERROR "coro runs on Linux only, and this is ${CMAKE_SYSTEM_NAME}.")
endif()

unset(_coro_advice)
unset(_coro_this)
unset(_coro_oldest)
