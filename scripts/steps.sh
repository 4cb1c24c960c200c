# A step of a script: what it does in a line, how far it is, and where its log is when it fails; and
# the release build as one. Sourced by scripts/perf and scripts/demo, which have set root and logs.
# shellcheck shell=bash disable=SC2154

fail() {  # SENTENCE
    echo "$1" >&2
    exit 1
}

# Runs a command with its output in a log, and shows of it what looks like [3/70]. Ends the script
# with 1 when the command fails.
step() {  # NAME TITLE COMMAND...
    local name=$1 title=$2 log=$logs/$1.log start=$SECONDS process status shown="" now
    shift 2
    mkdir -p "$logs"
    echo "==> $title"
    set -m  # a group of its own, so that an interruption ends all of it
    "$@" >"$log" 2>&1 </dev/null &
    process=$!
    set +m
    trap 'kill -TERM -- "-$process"; fail "$name was interrupted; its log is $log"' INT TERM HUP
    while kill -0 "$process" 2>/dev/null; do
        sleep 1
        now=$(progress_of "$log")
        if [[ -n $now && $now != "$shown" ]] && { [[ -t 1 ]] || (((SECONDS - start) % 10 == 0)); }; then
            if [[ -t 1 ]]; then printf '\r    %s ' "$now"; else echo "    $now"; fi
            shown=$now
        fi
    done
    wait "$process"
    status=$?
    trap - INT TERM HUP
    [[ -t 1 && -n $shown ]] && printf '\r'
    if ((status != 0)); then
        tail -n 20 "$log"
        fail "$name failed with status $status; the whole log is $log"
    fi
    echo "    done in $((SECONDS - start)) s"
}

progress_of() {  # LOG
    grep -oE '^\[[0-9]+/[0-9]+\]' "$1" | tail -n 1
}

# Only what was asked for: a whole build would take several times as long.
build_release() {  # TARGET...
    cmake --preset release && cmake --build --preset release -j "$(nproc)" --target "$@"
}

# What scripts/perf measures, and with what.
# shellcheck disable=SC2034
measured_targets=(process_echo threads_echo thread_pool_echo polling_echo select_echo poll_echo
    epoll_echo epoll_edge_echo uring_echo coro_echo fiber_echo coro_load)
