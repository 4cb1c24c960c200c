"""Machines made of files: copies of /proc and /sys that coro-doctor reads with --root."""
import json
import os
import pathlib
import subprocess

PROGRAM = pathlib.Path(os.environ.get("CORO_BUILD_DIR", "build/debug"), "src/doctor/coro-doctor")
PATIENCE = 120  # seconds, against hanging only

LIMITS = """Limit                     Soft Limit           Hard Limit           Units
Max processes             {processes:<20} {processes:<20} processes
Max open files            {soft:<20} {hard:<20} files
Max locked memory         {locked:<20} {locked:<20} bytes
"""


def limits(soft=1024, hard=1048576, processes=60000, locked=8388608):
    return LIMITS.format(soft=soft, hard=hard, processes=processes, locked=locked)


# A machine on which everything is in order for 100 000 connections.
HEALTHY = {
    "proc/self/limits": limits(soft=200000),
    "proc/self/status": "Name:\tx\nCapEff:\t0000000000000000\nCpus_allowed_list:\t0-3\n",
    "proc/self/cgroup": "0::/\n",
    "proc/self/mountinfo": "30 1 0:5 / /proc rw,nosuid - proc proc rw\n",
    "proc/meminfo": "MemTotal:       65804644 kB\nMemAvailable:   60000000 kB\n",
    "proc/sys/kernel/osrelease": "6.12.1\n",
    "proc/sys/kernel/io_uring_disabled": "0\n",
    "proc/sys/kernel/threads-max": "190000\n",
    "proc/sys/vm/max_map_count": "65530\n",
    "proc/sys/fs/nr_open": "1048576\n",
    "proc/sys/fs/file-max": "9000000\n",
    "proc/sys/fs/file-nr": "1000\t0\t9000000\n",
    "proc/sys/net/core/somaxconn": "4096\n",
    "proc/sys/net/core/netdev_max_backlog": "1000\n",
    "proc/sys/net/ipv4/tcp_max_syn_backlog": "4096\n",
    "proc/sys/net/ipv4/tcp_syncookies": "1\n",
    "proc/sys/net/ipv4/tcp_abort_on_overflow": "0\n",
    "proc/sys/net/ipv4/ip_local_port_range": "1024\t65535\n",
    "proc/sys/net/ipv4/tcp_tw_reuse": "2\n",
    "proc/sys/net/ipv4/tcp_fin_timeout": "60\n",
    "proc/sys/net/ipv4/tcp_max_tw_buckets": "262144\n",
    "proc/sys/net/ipv4/tcp_max_orphans": "262144\n",
    "proc/sys/net/ipv4/tcp_keepalive_time": "7200\n",
    "proc/sys/net/ipv4/tcp_keepalive_intvl": "75\n",
    "proc/sys/net/ipv4/tcp_keepalive_probes": "9\n",
    "proc/sys/net/ipv4/tcp_retries2": "15\n",
    "proc/sys/net/ipv4/tcp_syn_retries": "6\n",
    "proc/sys/net/ipv4/tcp_rmem": "4096\t131072\t6291456\n",
    "proc/sys/net/ipv4/tcp_wmem": "4096\t16384\t4194304\n",
    "proc/sys/net/ipv4/tcp_mem": "1500000\t2000000\t3000000\n",
    "proc/sys/net/ipv4/tcp_congestion_control": "cubic\n",
    "proc/sys/net/ipv4/tcp_available_congestion_control": "reno cubic\n",
    "sys/fs/cgroup/memory.max": "max\n",
    "sys/fs/cgroup/pids.max": "max\n",
    "sys/fs/cgroup/cpu.max": "max 100000\n",
}


def write(folder, changes=None):
    """The healthy machine with `changes`: other texts, and None for a file that is not there."""
    for path, text in {**HEALTHY, **(changes or {})}.items():
        if text is None:
            continue
        place = pathlib.Path(folder, path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def run(*arguments, **how):
    return subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True,
                          timeout=PATIENCE, check=False, **how)


def ask(*arguments, **how):
    """(exit code, the JSON object) of a run that must make a report."""
    done = run("--json", *arguments, **how)
    if done.stderr:
        raise AssertionError(done.stderr)
    return done.returncode, json.loads(done.stdout)


def rows_of(report):
    return {row["name"]: row for row in report["rows"]}


def needs_of(report):
    return {need["name"]: need for need in report["needs"]}
