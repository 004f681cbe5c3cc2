#!/usr/bin/env python3
"""Tests of commands.py: what it runs, what it refuses, and that a command which fails fails it."""

import contextlib
import io
import os
import subprocess
import sys
import tempfile
import time
import unittest

sys.dont_write_bytecode = True
import commands  # noqa: E402


class CommandsTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = os.path.join(folder.name, "repo")
        os.makedirs(self.root)
        subprocess.run(["git", "init", "-q", self.root], check=True)
        with open(os.path.join(self.root, "tracked.txt"), "w") as f:
            f.write("content\n")
        before = os.getcwd()
        os.chdir(self.root)
        self.addCleanup(os.chdir, before)

    def run_on(self, text, *args):
        """The exit code and everything printed."""
        with open("README.md", "w") as f:
            f.write(text)
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            code = commands.main([*args, "README.md"])
        return code, out.getvalue()

    def block(self, mark, *lines, lang="sh"):
        return "\n".join([f"<!-- ci: {mark} -->", f"```{lang}", *lines, "```", ""])

    def good(self, text, *args):
        code, out = self.run_on(text, *args)
        self.assertEqual(code, 0, out)
        return out

    def bad(self, text, why, *args):
        code, out = self.run_on(text, *args)
        self.assertEqual(code, 1, out)
        self.assertIn(why, out)

    def test_runs_marked_blocks_only_in_one_copy(self):
        out = self.good(self.block("run", "grep content tracked.txt", "echo x >made") + "```sh\nexit 1\n```\n" + self.block("run", "cat made"))
        self.assertIn("2 blocks run, 0 problems", out)
        self.assertFalse(os.path.exists("made"), "the working tree was touched")

    def test_any_failing_line_fails_the_block(self):
        self.bad(self.block("run", "false", "true"), "README.md:2: exit code 1, want 0")
        self.bad(self.block("run", "false | true"), "exit code 1")
        self.bad(self.block("run", "echo $nothing"), "unbound variable")

    def test_says_what_was_printed(self):
        self.bad(self.block("run", "echo the reason; exit 4"), "    the reason")

    def test_exit_and_expect(self):
        self.good(self.block("run exit=3 expect='two words'", "echo two words", "exit 3"))
        self.bad(self.block("run expect=absent", "echo present"), '"absent" was not printed')

    def test_console_block(self):
        out = self.good(self.block("run expect=a-b", "$ echo a-\\", "b", "a-b", "# not a command: exit 1", lang="console"))
        self.assertIn("1 blocks run", out)

    def test_timeout(self):
        began = time.monotonic()
        self.bad(self.block("run timeout=1", "sleep 60"), "did not end within 1 s")
        self.assertLess(time.monotonic() - began, 20)

    def test_ctrl_c(self):
        loop = "python3 -c 'import time\ntry:\n print(\"up\", flush=True); time.sleep(60)\nexcept KeyboardInterrupt: print(\"down\")'"
        self.good(self.block("run stop-on=up expect=down", loop))
        self.good(self.block("run stop-after=1 expect=down", loop))
        self.bad(self.block("run stop-on=never timeout=1", loop), '"never" was not printed within 1 s')

    def test_background(self):
        serve = "python3 -c 'import time\ntry:\n open(\"ready\", \"w\").close(); print(\"up\", flush=True); time.sleep(60)\nexcept KeyboardInterrupt: print(\"down\")'"
        self.good(self.block("run background ready=up expect=down", serve) + self.block("run", "test -f ready"))
        self.bad(self.block("run background ready=up", "echo over"), 'ended before it printed "up"')

    def test_needs(self):
        out = self.good(self.block("run needs=no-such-program", "no-such-program") + self.block("run needs=shared", "ls ../shared/data"))
        self.assertIn("left out, there is no no-such-program", out)
        os.makedirs("../shared/data/traces")
        self.good(self.block("run needs=shared expect=traces", "ls ../shared/data"))

    def test_strict(self):
        self.bad("# nothing\n", "no block is marked", "--strict")
        self.bad(self.block("run", "true") + "```sh\nmake\n```\n", "README.md:5: mark this block", "--strict")
        self.good(self.block("run", "true") + self.block("skip needs a phone", "make") + "```json\n{}\n```\n", "--strict")

    def test_refuses_marks_it_cannot_keep(self):
        self.bad("<!-- ci: run -->\ntext\n", "this mark has no block")
        self.bad("<!-- ci: run -->\n", "this mark has no block")
        self.bad(self.block("rnu", "true"), "run or skip")
        self.bad(self.block("run tiemout=3", "true"), 'cannot read "tiemout=3"')
        self.bad(self.block("run exit=three", "true"), 'cannot read "exit=three"')
        self.bad(self.block("run", "{}", lang="json"), "can be run, this one is json")
        self.bad("<!-- ci: run -->\n```sh\ntrue\n", "not closed")

    def test_marks_inside_blocks_are_text(self):
        self.good(self.block("run", "true") + "````md\n<!-- ci: run -->\n```sh\nexit 1\n```\n````\n")


if __name__ == "__main__":
    unittest.main()
