#!/usr/bin/env python3
# ctest: timeout=60 label=static
"""docs/reference.md is what the `///` lines of the public headers say.

`tests/docs/reference_test.py --write` writes the page anew. The page has each declaration outside
of `detail` that has such lines; private members are left out.
"""
import os
import pathlib
import re
import sys
import textwrap
import unittest

ROOT = pathlib.Path(os.environ.get("CORO_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(ROOT / "tools"))
import cpp_text  # noqa: E402

PAGE = ROOT / "docs/reference.md"
INCLUDE = ROOT / "include"
LAYERS = ("base", "core", "runtime", "net", "sim", "service", "testing")
TOP = """# Reference

What the headers say of each public name, layer by layer. `#include <coro/coro.hpp>` brings all but
`coro/testing`. A declaration that begins with `co_await` is awaited. The sentences
are those of the headers: this page is generated from them, and a test compares the two.

"""


def awaited(declaration):
    """`co_await name(…)` for a function that returns an awaiter or a task to be awaited."""
    if '[[nodiscard("co_await' not in declaration.replace("\n", " "):
        return declaration
    if re.search(r"\b(class|struct)\b", declaration):
        return declaration
    return re.sub(
        r'\[\[nodiscard\("co_await[^"]*"\)\]\]\s*(?:CORO_EXPORT\s+)?'
        r"(?:(?:inline|static|constexpr)\s+)*"
        r"[\w:]+(?:<(?:[^<>]|<[^<>]*>)*>)?\s+(?=\w+\()",
        lambda match: ("static " if "static" in match.group() else "") + "co_await ",
        declaration,
    )


def tidied(declaration):
    """Without attributes, macros, `inline`, and the initialisers of a constructor."""
    declaration = awaited(declaration)
    declaration = re.sub(r"\[\[.*?\]\]\s*", "", declaration, flags=re.DOTALL)
    declaration = re.sub(r"\b(CORO_EXPORT|CORO_LIFETIMEBOUND|inline|friend)\b\s*", "", declaration)
    declaration = re.sub(r"(?<=\w) : private .*", "", declaration, flags=re.DOTALL)
    lines = []
    for line in declaration.strip().split("\n"):
        if lines and not re.match(r"\s*(template\b|requires\b)", lines[-1]):
            lines[-1] += " " + line.strip()
        else:
            lines.append(line.strip())
    return "\n".join(
        textwrap.fill(re.sub(r"(?<=\() | (?=[,)])", "", re.sub(r" +", " ", line)), 96,
                      subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
        for line in lines)


def end_of_declaration(code, at):
    """Where the declaration that begins at `at` ends: before its body, its initialiser list, or
    its semicolon."""
    depth = 0
    while at < len(code):
        letter = code[at]
        if letter in "([":
            depth += 1
        elif letter in ")]":
            depth -= 1
        elif depth == 0 and letter == ";":
            return at
        elif depth == 0 and letter == "{":
            if not code[:at].rstrip().endswith("="):
                return at
            at = code.index("}", at)
        elif depth == 0 and letter == ":" and code[at - 1] != ":" and code[at + 1] != ":":
            if re.search(r"\)\s*(noexcept(\([^)]*\))?\s*)?$", code[:at]):
                return at
        at += 1
    return at


class entry:
    def __init__(self, path, declaration, text):
        self.path, self.declaration, self.text = path, declaration, text


def access_at(code, begin, at, kind_of_class):
    """public, protected or private, by the last label of that class before `at`."""
    depth, access = 0, "private" if kind_of_class == "class" else "public"
    for match in re.finditer(r"[{}]|\b(public|protected|private)\s*:(?!:)", code[begin + 1 : at]):
        if match.group() == "{":
            depth += 1
        elif match.group() == "}":
            depth -= 1
        elif depth == 0:
            access = match.group(1)
    return access


def names_around(file, spans, at):
    """The scopes around an offset, from the outside, or None if no user meets what stands there."""
    names = []
    for begin, end, _, kind, header in sorted(spans):
        if not begin < at < end:
            continue
        if kind[0] == "block" and not re.search(r"\benum\b", header):
            return None
        if kind[0] == "namespace":
            if "detail" in kind[1]:
                return None
            names += kind[1]
        else:
            is_class = re.search(r"\bclass\s", header) and not re.search(r"\benum\b", header)
            if access_at(file.code, begin, at, "class" if is_class else "struct") != "public":
                return None
            name = re.findall(r"\b(?:class|struct|union|enum)\s+(?:\[\[.*?\]\]\s*)?"
                              r"(?:CORO_EXPORT\s+)?(?:class\s+)?(\w+)", header, re.DOTALL)
            names.append(name[-1] if name else "")
    return names


def trailing(file, number):
    """The text of a `///<` comment that begins on this line."""
    text = file.lines[number].split("///<", 1)[1].strip()
    for line in file.lines[number + 1 :]:
        more = re.match(r"\s*///<?\s(.*)$", line)
        if not more or not re.match(r"\s{20,}", line):
            break
        text += " " + more.group(1).strip()
    return text


def entries(file):
    """The documented declarations of a header, in its order."""
    spans = cpp_text.scopes(file.code)
    number = 0
    while number < len(file.lines):
        line = file.lines[number]
        if re.match(r"\s*///(?!<)", line):
            first = number
            while re.match(r"\s*///(?!<)", file.lines[number]):
                number += 1
            text = " ".join(each.strip()[3:].strip() for each in file.lines[first:number])
            at = file.starts[number]
            at += len(file.text[at:]) - len(file.text[at:].lstrip())
            around = names_around(file, spans, at)
            if around is not None and not re.match(r"#|//", file.text[at:]):
                end = end_of_declaration(file.code, at)
                declared = file.text[file.starts[number] : end]
                yield entry(around, tidied(declared), text)
            continue
        if "///<" in line and not re.match(r"\s*///<", line):
            at = file.starts[number] + len(line) - len(line.lstrip())
            around = names_around(file, spans, at)
            if around is not None:
                declared = tidied(line.split("///<")[0].strip().rstrip(",;"))
                yield entry(around, declared, trailing(file, number))
        number += 1


def paragraph(text):
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


def name_of(declaration):
    """What a heading says: the name that is declared."""
    declaration = declaration.replace("decltype(auto) ", "")
    code = re.sub(r"template\s*<(?:[^<>]|<[^<>]*>)*>\s*", "", declaration, flags=re.DOTALL)
    code = re.sub(r"requires\s*\(.*?\)\n|requires [^\n]*\n", "", code, flags=re.DOTALL)
    if match := re.search(r"\b(?:class|struct|enum class|concept|using|union)\s+(\w+)", code):
        return match.group(1)
    if match := re.search(r"(\boperator\W+|~?\w+)\s*\(", code):
        return match.group(1).strip()
    if match := re.search(r"(\w+)\s*(?:=.*)?$", code, re.DOTALL):
        return match.group(1)
    return code


def page():
    out = [TOP.rstrip("\n")]
    for layer in LAYERS:
        headers = sorted((INCLUDE / "coro" / layer).glob("*.hpp"))
        if headers:
            out.append(f"## {layer}")
        for path in headers:
            file = cpp_text.source(ROOT, path)
            about = []
            for line in file.lines:
                if not line.startswith("//"):
                    break
                about.append(line[2:].strip())
            out.append(f"### `{path.relative_to(INCLUDE).as_posix()}`")
            out.append(paragraph(" ".join(about)))
            for each in entries(file):
                if len(each.path) and each.path[-1:] and is_member(each):
                    out.append("- " + one_line(each.declaration) + ": " + each.text
                               if short(each) else block(each))
                else:
                    spaces = "::".join(name for name in each.path if name)
                    out.append(f"#### {spaces}::{name_of(each.declaration)}")
                    out.append(block(each))
    return joined(out)


def is_member(each):
    return bool(re.match(r"[a-z]", each.path[-1])) and each.path[-1] not in (
        "coro", "net", "sim", "testing")


def one_line(declaration):
    return "`" + re.sub(r"\s+", " ", declaration) + "`"


def short(each):
    return "(" not in each.declaration and len(one_line(each.declaration)) < 90


def block(each):
    return f"```text\n{each.declaration}\n```\n\n{paragraph(each.text)}"


def joined(parts):
    """Lists stand together, everything else apart."""
    text = ""
    for before, part in zip([""] + parts, parts):
        if part.startswith("- "):
            part = textwrap.fill(part, 100, subsequent_indent="  ", break_long_words=False,
                                 break_on_hyphens=False)
        text += ("\n" if before.startswith("- ") and part.startswith("- ") else "\n\n") + part
    return text.lstrip("\n") + "\n"


class reference(unittest.TestCase):
    def test_the_page_says_what_the_headers_say(self):
        self.assertEqual(PAGE.read_text(encoding="utf-8"), page(),
                         "run tests/docs/reference_test.py --write")

    def test_a_changed_sentence_is_seen(self):
        written = page()
        self.assertIn("coro::task", written)
        self.assertIn("co_await read_some(mutable_bytes into)", written)
        self.assertGreater(written.count("####"), 100)

    def test_private_and_detail_are_left_out(self):
        self.assertNotRegex(page(), r"####.*\bdetail\b")


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        PAGE.write_text(page(), encoding="utf-8")
    else:
        unittest.main()
