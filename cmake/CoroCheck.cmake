cmake_policy(VERSION 3.25)  # not the consumer's; ends with this file

# coro_check(TARGET): adds the target TARGET_coro_check, which is part of `all`. It looks through the
# sources of TARGET for statements that g++ 12 miscompiles, and looks again at what has changed. It
# needs Python 3.9 and clang 19; docs/guide/compilers.md says what it finds. CORO_CHECK_COMPILER
# names clang 19 where it is not clang++-19.
function(coro_check target)
    find_package(Python3 3.9 REQUIRED COMPONENTS Interpreter)
    set(program "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/coro_check.py")
    if(NOT EXISTS "${program}")  # the source tree
        set(program "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/../tools/coro_check.py")
    endif()
    set(compiler clang++-19)
    if(CORO_CHECK_COMPILER)
        set(compiler "${CORO_CHECK_COMPILER}")
    endif()
    set(place "${CMAKE_CURRENT_BINARY_DIR}/CMakeFiles/${target}_coro_check")
    file(MAKE_DIRECTORY "${place}")

    # Flags may depend on the language, and a custom command has none: so they go through a file.
    set(folders "$<TARGET_PROPERTY:${target},INCLUDE_DIRECTORIES>")
    set(definitions "$<TARGET_PROPERTY:${target},COMPILE_DEFINITIONS>")
    set(options "$<TARGET_PROPERTY:${target},COMPILE_OPTIONS>")
    set(standard "$<TARGET_PROPERTY:${target},CXX_STANDARD>")
    set(wants_23 "$<IN_LIST:cxx_std_23,$<TARGET_PROPERTY:${target},COMPILE_FEATURES>>")
    string(JOIN "\n" flags
        "SHELL:${CMAKE_CXX_FLAGS}"
        "-std=c++$<IF:$<VERSION_GREATER:0${standard},20>,${standard},$<IF:${wants_23},23,20>>"
        "$<$<BOOL:${folders}>:-I$<JOIN:${folders},\n-I>>"
        "$<$<BOOL:${definitions}>:-D$<JOIN:${definitions},\n-D>>"
        "$<JOIN:${options},\n>\n")
    file(GENERATE OUTPUT "${place}/$<CONFIG>.flags.$<COMPILE_LANGUAGE>" CONTENT "${flags}"
        TARGET ${target})
    set(flags "${place}/$<CONFIG>.flags.CXX")

    set(own "$<TARGET_PROPERTY:coro::coro,INTERFACE_INCLUDE_DIRECTORIES>")
    get_target_property(sources ${target} SOURCES)
    get_target_property(folder ${target} SOURCE_DIR)
    set(stamps)
    foreach(source IN LISTS sources)
        if(NOT source MATCHES "\\.(cpp|cc|cxx|C)$")
            continue()
        endif()
        cmake_path(ABSOLUTE_PATH source BASE_DIRECTORY "${folder}")
        string(MD5 name "${source}")
        set(stamp "${place}/${name}")
        add_custom_command(OUTPUT "${stamp}"
            COMMAND Python3::Interpreter "${program}" --compiler "${compiler}" --flags "${flags}"
                "$<$<BOOL:${own}>:--outside;$<JOIN:${own},;--outside;>>" "${source}"
                -- -MD -MF "${stamp}.d" -MT "${stamp}"
            COMMAND "${CMAKE_COMMAND}" -E touch "${stamp}"
            DEPENDS "${source}" "${program}" "${flags}"
            DEPFILE "${stamp}.d"
            COMMENT "coro_check ${source}"
            COMMAND_EXPAND_LISTS VERBATIM)
        list(APPEND stamps "${stamp}")
    endforeach()
    add_custom_target(${target}_coro_check ALL DEPENDS ${stamps})
endfunction()

# Says once what a consumer with g++ 12 has to know. CORO_COMPILER_NOTICE=OFF keeps it quiet.
function(coro_compiler_notice)
    get_property(said GLOBAL PROPERTY CORO_COMPILER_NOTICE_SAID)
    if(said OR (DEFINED CORO_COMPILER_NOTICE AND NOT CORO_COMPILER_NOTICE)
            OR NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU"
            OR NOT CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
        return()
    endif()
    set_property(GLOBAL PROPERTY CORO_COMPILER_NOTICE_SAID TRUE)
    message(NOTICE "coro: g++ ${CMAKE_CXX_COMPILER_VERSION} miscompiles some statements that await. \
Use clang 19 (-DCMAKE_CXX_COMPILER=clang++-19), or call coro_check(TARGET), which finds them. \
-DCORO_COMPILER_NOTICE=OFF silences this.")
endfunction()
