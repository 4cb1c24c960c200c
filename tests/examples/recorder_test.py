#!/usr/bin/env python3
# ctest: timeout=60 serial
"""Runs the recorder, on each poller, and compares what it prints."""
import unittest

from support import POLLERS, must_be_built, run, text_of

PRINTED = '''-> "hello"
<- "hello"
<- ""
read_exact recorded memory: the peer ended the stream too early
'''


class recorder(unittest.TestCase):
    def test_prints_what_passes_and_names_itself(self):
        must_be_built("recorder")
        for poller in POLLERS:
            with self.subTest(poller=poller):
                end = run("recorder", poller=poller)
                self.assertEqual((end.returncode, end.stdout, end.stderr), (0, PRINTED, ""))

    def test_is_as_short_as_the_guide_says(self):
        self.assertLessEqual(len(text_of("recorder").splitlines()), 60)


if __name__ == "__main__":
    unittest.main()
