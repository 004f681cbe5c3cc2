#!/usr/bin/env python3
"""Runs the shell commands of Markdown files as they are written there.

    .ci/commands.py [--strict] [--list] README.md docs/operations.md ...

Mark a fenced block with a comment on a line of its own before it (blank lines between are fine); readers of the
page do not see it:

    <!-- ci: run -->
    ```sh
    go run ./cmd/footfall fence check testdata/stores.geojson
    ```

Only blocks of the languages sh, bash, shell and console can be marked. In a console block only the lines after
"$ " are commands, and lines that continue one after a backslash. Words after "run" change what happens:

    timeout=60          seconds until the block has failed; 300 unless told
    exit=3              exit code to expect; 0 unless told
    stop-after=20       press Ctrl-C after 20 s; for commands that run until they are stopped
    stop-on="SHOWN"     press Ctrl-C when this text has been printed
    expect="2 errors"   text that must be printed, and may be given several times
    background          go on to the next block; ended with Ctrl-C after the last block of the file
    ready="listening"   for background: wait for this text before going on
    needs=shared        leave the block out where there is no ../shared/data
    needs=nats          leave the block out where there is no such program

<!-- ci: skip WHY --> says that a block is not meant to be run. With --strict each shell block of the first file
must be marked one way or the other, so that no command of the README goes untested by oversight.

The blocks of one file run in order, each under "bash -euo pipefail" and without input, in one copy of the
working tree (tracked and new files) in a temporary folder; ../shared beside it is a link to ours, and HOME stays.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

SHELLS = {"sh", "bash", "shell", "console"}
MARK = re.compile(r"^\s*<!--\s*ci:\s*(.*?)\s*-->\s*$")
FENCE = re.compile(r"^(\s{0,3})(`{3,}|~{3,})\s*([A-Za-z0-9_+-]*)")


class Problem(Exception):
    pass


class Block:
    def __init__(self, path, line, lang, mark, text):
        self.where = f"{path}:{line}"
        self.lang, self.text = lang, text
        self.run, self.skip, self.background = False, None, False
        self.timeout, self.exit, self.stop_after = 300.0, 0, None
        self.stop_on, self.ready, self.expect, self.needs = None, None, [], []
        if mark is not None:
            self.read(mark)

    def read(self, mark):
        verb, _, rest = mark.partition(" ")
        if verb == "skip":
            self.skip = rest.strip() or "no reason given"
            return
        if verb != "run":
            raise Problem(f'{self.where}: "ci: {mark}": the first word is run or skip')
        if self.lang not in SHELLS:
            raise Problem(f"{self.where}: only sh, bash, shell and console blocks can be run, this one is {self.lang or 'plain'}")
        self.run = True
        for word in shlex.split(rest):
            key, eq, value = word.partition("=")
            try:
                if key == "background" and not eq:
                    self.background = True
                elif key in ("timeout", "stop-after"):
                    setattr(self, key.replace("-", "_"), float(value))
                elif key == "exit":
                    self.exit = int(value)
                elif key in ("stop-on", "ready") and value:
                    setattr(self, key.replace("-", "_"), value)
                elif key in ("expect", "needs") and value:
                    getattr(self, key).append(value)
                else:
                    raise ValueError
            except ValueError:
                raise Problem(f'{self.where}: cannot read "{word}"; see the top of .ci/commands.py') from None

    def commands(self):
        if self.lang != "console":
            return self.text
        out, more = [], False
        for line in self.text.splitlines():
            if more or line.startswith("$ "):
                line = line if more else line[2:]
                out.append(line)
                more = line.endswith("\\")
        if not out:
            raise Problem(f'{self.where}: no line of this console block starts with "$ "')
        return "\n".join(out) + "\n"

    def missing(self, root):
        for need in self.needs:
            if need == "shared":
                if not os.path.isdir(os.path.join(root, "..", "shared", "data")):
                    return "../shared/data"
            elif shutil.which(need) is None:
                return need
        return None


def blocks(path):
    """Every fenced block of a Markdown file, in order. A mark without a block is an error."""
    with open(path, encoding="utf-8") as f:
        lines = f.read().splitlines()
    mark, marked_at, i = None, 0, 0
    while i < len(lines):
        line, fence = lines[i], FENCE.match(lines[i])
        if fence:
            indent, ticks, lang = len(fence[1]), fence[2], fence[3].lower()
            begin, body = i + 1, []
            i += 1
            while i < len(lines) and not re.match(rf"^\s{{0,3}}{re.escape(ticks[0])}{{{len(ticks)},}}\s*$", lines[i]):
                body.append(re.sub(rf"^ {{0,{indent}}}", "", lines[i]))
                i += 1
            if i == len(lines):
                raise Problem(f"{path}:{begin}: the block is not closed")
            yield Block(path, begin, lang, mark, "\n".join(body) + "\n")
            mark = None
        elif found := MARK.match(line):
            if mark is not None:
                raise Problem(f"{path}:{marked_at}: this mark has no block")
            mark, marked_at = found[1], i + 1
        elif line.strip() and mark is not None:
            raise Problem(f"{path}:{marked_at}: this mark has no block right after it")
        i += 1
    if mark is not None:
        raise Problem(f"{path}:{marked_at}: this mark has no block")


def copy_tree(root, to):
    """Copies tracked and new files, and links what lies beside the repository. What an earlier copy left there goes first."""
    shutil.rmtree(to, ignore_errors=True)
    tree = os.path.join(to, "footfall")
    names = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                           cwd=root, check=True, capture_output=True).stdout.split(b"\0")
    for name in filter(None, map(os.fsdecode, names)):
        source, target = os.path.join(root, name), os.path.join(tree, name)
        if os.path.lexists(source):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    shared = os.path.join(root, "..", "shared")
    if os.path.isdir(shared):
        os.symlink(os.path.realpath(shared), os.path.join(to, "shared"))
    return tree


class Running:
    """A block under way, in a process group of its own so that Ctrl-C reaches all of it."""

    def __init__(self, block, tree, log):
        self.block, self.log, self.began = block, log, time.monotonic()
        self.out = open(log, "wb")
        self.process = subprocess.Popen(["bash", "-euo", "pipefail", "-c", block.commands()], cwd=tree, stdin=subprocess.DEVNULL,
                                        stdout=self.out, stderr=subprocess.STDOUT, start_new_session=True)

    def printed(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def ended(self):
        return self.process.poll() is not None

    def signal(self, number):
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass

    def interrupt(self):
        """Ctrl-C, and the end within 30 s. bash itself would die of it and hide what its command said of the
        end, so it is sent to everyone else in the group when there is someone else."""
        others = [p for p in group_members(self.process.pid) if p != self.process.pid]
        for pid in others or [self.process.pid]:
            try:
                os.kill(pid, signal.SIGINT)
            except ProcessLookupError:
                pass
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.fail("still ran 30 s after Ctrl-C")

    def fail(self, why):
        self.kill()
        text = self.printed().splitlines()
        shown = "\n".join("    " + line for line in text[-60:])
        raise Problem(f"{self.block.where}: {why}\n{shown}")

    def kill(self):
        self.signal(signal.SIGKILL)
        self.process.wait()
        self.out.close()

    def wait(self, condition, limit, what):
        while not condition():
            if time.monotonic() - self.began > limit:
                self.fail(f"{what} within {limit:.0f} s")
            time.sleep(0.1)

    def check(self):
        code, want = self.process.returncode, self.block.exit
        if code != want:
            self.fail(f"exit code {code}, want {want}")
        text = self.printed()
        for part in self.block.expect:
            if part not in text:
                self.fail(f'"{part}" was not printed')
        self.kill()


def group_members(group):
    """Processes of a group. Reads /proc; elsewhere only the leader is known."""
    found = []
    try:
        pids = [int(p) for p in os.listdir("/proc") if p.isdigit()]
    except FileNotFoundError:
        return [group]
    for pid in pids:
        try:
            if os.getpgid(pid) == group:
                found.append(pid)
        except ProcessLookupError:
            pass
    return found


def run_file(path, found, root, scratch):
    runnable = [b for b in found if b.run]
    if not runnable:
        return 0
    # In the same place for every file: Go's build cache knows a package by its folder, and would compile all anew.
    tree = copy_tree(root, os.path.join(scratch, "copy"))
    background, ran = [], 0
    try:
        for n, block in enumerate(runnable):
            if missing := block.missing(root):
                print(f"{block.where}: left out, there is no {missing}", flush=True)
                continue
            print(f"{block.where}: " + " ⏎ ".join(block.commands().strip().splitlines())[:150], flush=True)
            r = Running(block, tree, os.path.join(scratch, f"{os.path.basename(path)}-{n}.log"))
            ran += 1
            if block.background:
                background.append(r)
                if block.ready:
                    r.wait(lambda: block.ready in r.printed() or r.ended(), block.timeout, f'"{block.ready}" was not printed')
                    if block.ready not in r.printed():
                        r.fail(f'ended before it printed "{block.ready}"')
                continue
            try:
                if block.stop_on:
                    r.wait(lambda: block.stop_on in r.printed() or r.ended(), block.timeout, f'"{block.stop_on}" was not printed')
                    if not r.ended():
                        r.interrupt()
                elif block.stop_after is not None:
                    r.wait(lambda: r.ended() or time.monotonic() - r.began > block.stop_after, block.stop_after + 1, "")
                    if not r.ended():
                        r.interrupt()
                else:
                    r.wait(r.ended, block.timeout, "did not end")
                r.check()
            finally:
                if r.process.returncode is None:
                    r.kill()
        for r in reversed(background):
            if not r.ended():
                r.interrupt()
            r.check()
    finally:
        for r in background:
            if r.process.poll() is None:
                r.kill()
    return ran


def main(args):
    # A job in the background of a script ignores Ctrl-C, and so would the commands, which inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    strict, listing = "--strict" in args, "--list" in args
    paths = [a for a in args if not a.startswith("--")]
    if not paths:
        print(__doc__)
        return 2
    root = os.getcwd()
    problems, ran = [], 0
    with tempfile.TemporaryDirectory(prefix="footfall-commands-") as scratch:
        for n, path in enumerate(paths):
            try:
                found = list(blocks(path))
                open_ones = [b for b in found if b.lang in SHELLS and not b.run and b.skip is None]
                if strict and n == 0:
                    if not any(b.run for b in found):
                        raise Problem(f"{path}: no block is marked to be run")
                    problems += [f"{b.where}: mark this block with <!-- ci: run --> or <!-- ci: skip WHY -->" for b in open_ones]
                if listing:
                    for b in found:
                        if b.lang in SHELLS:
                            print(f"{b.where}: {'run' if b.run else 'skip: ' + b.skip if b.skip else 'not marked'}")
                    continue
                ran += run_file(path, found, root, scratch)
            except (Problem, OSError) as e:
                problems.append(str(e))
    for p in problems:
        print(f"commands: {p}", file=sys.stderr)
    if not listing:
        print(f"{ran} blocks run, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
