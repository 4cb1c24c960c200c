# What must be installed, and how it is. Sourced by scripts/test, scripts/perf and scripts/demo, which
# have set: root, the tree; logs, where packages.log goes; may_install, 0 to name what is missing only.
# shellcheck shell=bash disable=SC2154,SC2034

# check | package | what it is for. A check is a command, or a file (with wildcards) that the
# package brings. The names are Debian 12's; Ubuntu 24.04 has the same ones (not run by us).
packages=(
    "g++           | g++                  | compiles the library"
    "cmake         | cmake                | configures the build"
    "ninja         | ninja-build          | runs the build"
    "pkg-config    | pkg-config           | finds liburing"
    "python3       | python3              | runs the checks and the test drivers"
    "/usr/include/liburing.h               | liburing-dev         | is the interface of io_uring"
    "/usr/include/boost/context/fiber.hpp  | libboost-context-dev | switches stacks"
    "/usr/include/gtest/gtest.h            | libgtest-dev         | runs the tests"
    "/usr/include/gmock/gmock.h            | libgmock-dev         | matches in the tests"
    "/usr/include/benchmark/benchmark.h    | libbenchmark-dev     | runs the micro-benchmarks"
)
# What only the tests need.
sanitizers='/usr/lib/llvm-19/lib/clang/19/lib/linux/libclang_rt.asan-*'
test_packages=(
    "strace        | strace               | counts system calls in the tests"
    "valgrind      | valgrind             | counts instructions in the tests"
    "nc            | netcat-openbsd       | is a foreign client in the tests"
    "socat         | socat                | is another foreign client in the tests"
    "clang++-19    | clang-19             | is the second compiler, and compiles with sanitizers"
    "$sanitizers   | libclang-rt-19-dev   | holds what programs with sanitizers link"
)
# What only two examples and their tests need. Nobody gets the servers of databases put in who did not
# ask for --all; the tests are skipped then.
database_packages=(
    "redis-server                          | redis-server         | is a real server for the tests"
    "/usr/lib/postgresql/*/bin/postgres    | postgresql           | is a real server for the tests"
    "/usr/include/hiredis/hiredis.h        | libhiredis-dev       | encodes for the example redis_pool"
    "/usr/include/postgresql/libpq-fe.h    | libpq-dev            | talks for the example postgres_pool"
)
# The peers of the arena: of scripts/perf --peers, and of nothing else.
peer_packages=(
    "/usr/include/boost/asio.hpp           | libboost-dev         | is the peer Boost.Asio"
    "/usr/include/uv.h                     | libuv1-dev           | is the peer libuv"
    "/usr/include/event2/event.h           | libevent-dev         | is the peer libevent"
    "go                                    | golang-go            | is the peer Go"
    "node                                  | nodejs               | is the peer Node.js"
    "/usr/lib/python3/dist-packages/gevent | python3-gevent       | is the peer gevent"
    "/usr/lib/python3/dist-packages/uvloop | python3-uvloop       | is the peer uvloop"
    "/usr/bin/cargo                        | cargo                | builds the peer tokio"
    "/usr/share/cargo/registry/tokio-1*    | librust-tokio-dev    | is the peer tokio"
)
# Installed too where we may, but nothing fails without them.
comforts=(
    "ccache        | ccache               | makes the second build fast"
    "git           | git                  | fetches and shows the history"
)

field() {  # NUMBER ROW: that column of a table row, without the blanks around it
    local -a parts
    IFS='|' read -ra parts <<<"$2"
    local text=${parts[$1 - 1]:-}
    text=${text#"${text%%[![:space:]]*}"}
    printf '%s' "${text%"${text##*[![:space:]]}"}"
}

is_there() {  # CHECK: a command, or a file with wildcards
    if [[ $1 == /* ]]; then compgen -G "$1" >/dev/null; else command -v "$1" >/dev/null; fi
}

missing_of() {  # ROW...: the rows whose check fails
    local row
    for row in "$@"; do
        is_there "$(field 1 "$row")" || printf '%s\n' "$row"
    done
}

say_what_is_skipped() {  # ROW...: what is not there, and may be missing
    local row name
    while read -r row; do
        name=$(field 2 "$row")
        [[ -z $name ]] || echo "$name is missing, so tests are skipped; it $(field 3 "$row")"
    done < <(missing_of "$@")
}

install_missing() {  # ROW...: all of them are there afterwards, or the script ends with 3
    local -a rows extra=()
    local row name
    mapfile -t rows < <(missing_of "$@")
    if ((may_install == 0)); then
        for row in "${rows[@]}"; do
            name=$(field 2 "$row")
            echo "$name is missing; it $(field 3 "$row"): apt-get install $name"
        done
        ((${#rows[@]} == 0)) || exit 3
        return
    fi
    if ((EUID == 0 || ${#rows[@]} > 0)); then mapfile -t extra < <(missing_of "${comforts[@]}"); fi
    ((${#rows[@]} == 0)) || apt_install "${rows[@]}"
    mapfile -t rows < <(missing_of "$@")
    for row in "${rows[@]}"; do
        echo "$(field 2 "$row") is needed, and $(field 1 "$row") is still not there"
    done
    ((${#rows[@]} == 0)) || exit 3
    # By themselves, for one package that apt does not know keeps it from all that were asked for.
    ((${#extra[@]} == 0)) || (apt_install "${extra[@]}") || echo "it goes on without them"
}

install_where_possible() {  # ROW...: what cannot be installed is named, and is no failure
    local -a rows
    local row
    mapfile -t rows < <(missing_of "$@")
    ((${#rows[@]} > 0)) || return 0
    if ((may_install)); then  # one by one where not all of them can be had
        (apt_install "${rows[@]}") || for row in "${rows[@]}"; do (apt_install "$row"); done
    fi
    while read -r row; do
        [[ -z $row ]] || echo "$(field 2 "$row") is missing; it $(field 3 "$row"), which is left out"
    done < <(missing_of "$@")
}

apt_install() {  # ROW...: false when it failed
    local -a as_root=() names=()
    local row status=0
    for row in "$@"; do names+=("$(field 2 "$row")"); done
    set -- "${names[@]}"
    if ((EUID != 0)); then
        if ! command -v sudo >/dev/null; then
            echo "neither root nor sudo is at hand, so ask for: apt-get install $*"
            exit 3
        fi
        as_root=(sudo)
    fi
    if ! command -v apt-get >/dev/null; then
        echo "missing: $*; this machine has no apt-get, so install them in its own way"
        exit 3
    fi
    echo "installing: $*"
    mkdir -p "$logs"
    # The tests start servers of their own. Those of the packages must not begin to run here; where
    # there is no systemd their start would fail, and the installation with it.
    local policy=/usr/sbin/policy-rc.d made_policy=
    if [[ " $* " =~ \ (redis-server|postgresql)\  && ! -e $policy ]]; then
        printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null &&
            "${as_root[@]}" chmod +x "$policy" && made_policy=1
    fi
    local -a install=(env DEBIAN_FRONTEND=noninteractive
                      apt-get install -y --no-install-recommends "$@")
    if ! { "${as_root[@]}" apt-get update && "${as_root[@]}" "${install[@]}"; } \
        >"$logs/packages.log" 2>&1 </dev/null; then
        tail -n 20 "$logs/packages.log"
        echo "installing failed: the log is $logs/packages.log"
        status=1
    fi
    [[ -z $made_policy ]] || "${as_root[@]}" rm -f "$policy"
    hash -r
    return $status
}

prefer_ccache() {  # where there is one
    command -v ccache >/dev/null || return 0
    export CMAKE_CXX_COMPILER_LAUNCHER=ccache CCACHE_BASEDIR=$root CCACHE_NOHASHDIR=1
    export CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
}

print_compilers() {  # NAME...: one line, what is compiled with
    local name line all=
    for name in "$@"; do
        line=$({ "$name" --version; } 2>/dev/null | head -n 1)
        [[ $line =~ clang\ version\ ([0-9.]+) ]] && line="clang ${BASH_REMATCH[1]}"
        [[ -z $line ]] || all+="${all:+, }$line"
    done
    if (($# == 1)); then echo "compiler: $all"; else echo "compilers: $all"; fi
}
