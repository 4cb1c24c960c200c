#!/usr/bin/env python3
# ctest: label=static
"""Each sentence of misuse is in a table of tests/conformance/misuse_place*_test.cpp, which test
that it names the program's line and the task, or is listed below as one that no program meets."""
import os
import pathlib
import re
import unittest

ROOT = pathlib.Path(os.environ.get("CORO_SOURCE_DIR", pathlib.Path(__file__).parents[2]))
TABLES = sorted((ROOT / "tests/conformance").glob("misuse_place*_test.cpp"))

# Beginnings of sentences that only a mistake in the library itself, or in a test that uses its
# insides, can raise; and those that tests of their own show.
INTERNAL = {
    "a fiber was resumed on another loop": "a strand is resumed by its loop only",
    "a lease from the heap was returned twice": "leases are move-only objects",
    "a lease was returned": "leases are move-only objects",
    "a leased buffer was returned": "leases are move-only objects",
    "a poller was destroyed while operations were pending": "the loop waits for their end",
    "a poller was given a socket of another world": "the run of a detached_stream has one world",
    "a task group was destroyed before": "a group is made by with_task_group only",
    "a thread was": "threads of the library",
    "a timer was armed while": "timer nodes live in awaiters",
    "a timer was destroyed while": "timer nodes live in awaiters",
    "a timer_queue ended": "ends with its loop, after all tasks",
    "timer_queue::": "called by the loop only",
    "more bytes were taken than are buffered": "requests ask for the size first",
    "a buffered_stream wanted more": "requests are bounded by the limit",
    "an intrusive list ended": "lists of the library; conformance: list_death_test",
    "an object was put into a list": "lists of the library; conformance: list_death_test",
    "an operation was": "operations live in awaiters; conformance: pending_death_test",
    "the kernel chose a lease buffer": "the kernel's mistake",
    "epoll_wait(2) failed": "the kernel's mistake",
    "getrandom(2) failed": "the kernel's mistake",
    "memory was given back": "a test asks for it; conformance: pending_memory_death_test",
    "simulation: more bytes": "the simulated network",
    "simulation: bytes were read": "the simulated network",
    "simulation: a detached connection": "a detached_stream ends inside of its run",
    "simulation: an event of unknown kind": "the simulated network",
    "simulation: nothing can ever happen again": "unit: stuck_simulation_death_test",
    "run: nothing can ever happen again": "conformance: deadlock_test",
    "the loops of a run ended": "threads of the library",
    "the pool of blocking calls went": "threads of the library",
    "a socket slot": "the poller's slots",
    "an io_uring poller was used from": "a loop belongs to one thread",
    "a child process went on": "conformance: fork_test",
    "the heap of timers has lost count": "the timer queue",
    "extend() of a timer": "timer nodes live in awaiters",
    "a transport ": "mistakes of a transport, in no task; unit: transport_death_test",
    "a relay was given": "a mistake of a transport, in no task; unit: transport_death_test",
    "a stream was made of a transport outside": "unit: transport_death_test",
}


def literals(text):
    """The sentence that string literals side by side make up."""
    return "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', text))


def calls_of(name, text):
    """The arguments of each call, as text."""
    for match in re.finditer(rf"\b{name}\(", text):
        depth, at, quoted = 1, match.end(), False
        while depth:
            char = text[at]
            if quoted and char == "\\":
                at += 1
            elif char == '"':
                quoted = not quoted
            elif not quoted:
                depth += {"(": 1, ")": -1}.get(char, 0)
            at += 1
        yield text[match.end() : at - 1]


def sentences():
    """(where, sentence) of each sentence of misuse."""
    for folder in ("include", "src"):
        for path in sorted((ROOT / folder).rglob("*.[hc]pp")):
            text = re.sub(r"//.*", "", path.read_text(encoding="utf-8"))
            for name in ("CORO_ASSERT", "assertion_failed", "misused"):
                for arguments in calls_of(name, text):
                    if sentence := literals(arguments):
                        yield path.relative_to(ROOT), sentence
            for arguments in calls_of("check_startable", text):
                for part in re.split(r",\s*(?=\")", arguments)[1:]:
                    yield path.relative_to(ROOT), literals(part)


class misuse_table(unittest.TestCase):
    def test_each_sentence_is_in_the_table_or_internal(self):
        text = "".join(path.read_text(encoding="utf-8") for path in TABLES)
        table = [literals(each) for each in re.findall(r'(?:"(?:[^"\\]|\\.)*"\s*)+', text)]
        table = [each for each in table if len(each) > 15]
        found = list(sentences())
        self.assertGreater(len(found), 60)
        for path, sentence in found:
            listed = any(sentence.startswith(each) for each in INTERNAL)
            tabled = any(each in sentence for each in table)
            self.assertTrue(listed or tabled, f"{path}: no row of the table shows: {sentence}")
            self.assertFalse(listed and tabled, f"{path}: internal, and in the table: {sentence}")

    def test_each_internal_sentence_exists(self):
        found = [sentence for _, sentence in sentences()]
        for each in INTERNAL:
            self.assertTrue(any(sentence.startswith(each) for sentence in found), each)


if __name__ == "__main__":
    unittest.main()
