#!/usr/bin/env python3
"""Which test files a program is compiled from, and how: united, or only those with threads.

    sources.py [--unite FOLDER] [--threads] FILE...

Prints what CMake compiles, separated by semicolons.

--unite FOLDER  Puts files that lie in one folder together into one file in FOLDER, because most of
                the time of a small file goes into what it includes. A file takes part when it has
                one unnamed namespace. That gets a named one around it, so that no two files clash;
                what follows it may use it. `#line` keeps the places of each file. The other files
                stay as they are, as do those that say `// compiled alone`.
--threads       Leaves out a file when neither it nor a file that it includes in quotes includes
                anything that can start a thread.
"""
import argparse
import pathlib
import re
import sys

TESTS = pathlib.Path(__file__).resolve().parents[1]
MOST_BYTES = 120_000
OPENS = re.compile(r"^namespace \{$", re.MULTILINE)
CLOSES = re.compile(r"^\}  // namespace$", re.MULTILINE)
PREFACE = re.compile(r"$|//|#\s*(include|pragma)\b|namespace [\w: {]+ \{$")
ALONE = re.compile(r"^// compiled alone", re.MULTILINE)  # CMakeLists.txt says how
DEFINES = re.compile(r"^\s*#\s*define\b", re.MULTILINE)
# A test starts a thread by one of these, or by the library, or forks a process; or it switches
# stacks, which the thread sanitizer is told of.
THREADS = re.compile(
    r'^\s*#\s*include\s*[<"](thread|future|pthread\.h|sys/wait\.h|coro/coro\.hpp|support/'
    r"interleavings\.hpp|[\w/]*(loop_handle|blocking|server|serve|resolve|connect|signal\w*|mailbox"
    r"|supervised_thread|process\w*|fiber\w*|stack_pool|local_task_group)\.hpp)[>\"]",
    re.MULTILINE,
)
QUOTED = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', re.MULTILINE)


def has_threads(path, seen=None):
    """Whether `path`, or a file that it includes in quotes, includes what can start a thread."""
    seen = set() if seen is None else seen
    if path in seen or not path.is_file():
        return False
    seen.add(path)
    text = path.read_text(encoding="utf-8")
    if THREADS.search(text):
        return True
    return any(
        has_threads(folder / name, seen)
        for name in QUOTED.findall(text)
        for folder in (path.parent, TESTS)
    )


def wrapped(path):
    """The text of `path` with a namespace of its own, or None when it has to stay alone."""
    text = path.read_text(encoding="utf-8")
    opens, closes = OPENS.findall(text), CLOSES.findall(text)
    if len(opens) != 1 or len(closes) != 1 or ALONE.search(text):
        return None
    before, after = OPENS.split(text)[0], CLOSES.split(text)[1]
    if not all(PREFACE.match(line) for line in before.splitlines()) or DEFINES.search(text):
        return None
    more = any(not re.match(r"$|//|\}", line) for line in after.splitlines())
    using = f" using namespace of_{path.stem};" if more else ""
    # On the lines that are there, so that the numbers of the lines stay.
    text = OPENS.sub(f"namespace of_{path.stem} {{ namespace {{", text)
    text = CLOSES.sub(f"}} }}{using}  // namespace", text)
    text = QUOTED.sub(lambda found: beside(path.parent, found), text)
    return f'#line 1 "{path}"\n{text}'


def beside(folder, found):
    """The line of an #include in quotes, with the whole path of a file that lies in `folder`."""
    name = found.group(1)
    return f'#include "{folder / name}"' if (folder / name).is_file() else found.group()


def united(files, folder):
    """The files to compile instead of `files`; those in `folder` are written."""
    result, groups = [], {}
    for path in sorted(files):
        text = wrapped(path)
        if text is None:
            result.append(path)
            continue
        batches = groups.setdefault(path.parent, [[]])
        if sum(map(len, batches[-1])) + len(text) > MOST_BYTES and batches[-1]:
            batches.append([])
        batches[-1].append(text)
    folder.mkdir(parents=True, exist_ok=True)
    for parent, batches in groups.items():
        for number, texts in enumerate(batches, 1):
            out = folder / f"{parent.name}_{number}.cpp"
            write_if_changed(out, "".join(texts))
            result.append(out)
    return result


def write_if_changed(path, text):
    """A file whose time stays is not compiled again."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--unite", type=pathlib.Path, metavar="FOLDER")
    parser.add_argument("--threads", action="store_true")
    parser.add_argument("files", nargs="+", type=pathlib.Path)
    options = parser.parse_args()
    files = [path.resolve() for path in options.files]
    if options.threads:
        files = [path for path in files if has_threads(path)]
    if options.unite:
        files = united(files, options.unite)
    print(";".join(str(path) for path in files), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
