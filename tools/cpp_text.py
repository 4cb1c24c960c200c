"""C++ text as tools/tidy.py sees it: comments and literals blanked, scopes, declarations.

A guess by regular expressions, good for code in this project's form; it is no parser.
"""
import bisect
import fnmatch
import os
import pathlib
import re


class source:
    """One text file: `text`, and for C++ `code`, the same with comments and the inside of literals
    blanked."""

    def __init__(self, root, path):
        self.path = path
        self.name = path.relative_to(root).as_posix()
        self.text = path.read_text(encoding="utf-8", errors="replace")
        self.lines = self.text.split("\n")
        self.code = blank(self.text) if self.is_cpp() else self.text
        self.starts = [0]
        for match in re.finditer("\n", self.text):
            self.starts.append(match.end())

    def is_cpp(self):
        return self.path.suffix in (".hpp", ".cpp", ".def")

    def within(self, *patterns):
        return any(fnmatch.fnmatch(self.name, pattern) for pattern in patterns)

    def line_at(self, offset):
        return bisect.bisect_right(self.starts, offset)

    def includes(self):
        """(line, header, whether quoted), looked up in the code, so that a comment is none."""
        include = re.compile(r"^[ \t]*#[ \t]*(include)[ \t]*([<\"])([^>\"\n]+)[>\"]", re.MULTILINE)
        for match in include.finditer(self.text):
            if self.code.startswith("include", match.start(1)):
                yield self.line_at(match.start(1)), match.group(3), match.group(2) == '"'


# A comment, or a literal: raw string, string, character (not a digit separator).
LEXEME = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"(?P<d>[^()\s\\]{0,16})\(.*?\)(?P=d)"|"(?:\\.|[^"\\\n])*"'
    r"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'",
    re.DOTALL,
)


def blank(text):
    """The text with the same length and lines, where comments and what stands inside literals are
    spaces."""

    def replace(match):
        found = match.group()
        if found[0] == "/":
            return re.sub(r"[^\n]", " ", found)
        return found[0] + re.sub(r"[^\n]", " ", found[1:-1]) + found[-1]

    return LEXEME.sub(replace, text)


SUFFIXES = {".hpp", ".cpp", ".def", ".md", ".py", ".cmake", ".txt", ".sh", ".in", ".json"}
SKIPPED_FOLDERS = {".git", "build", "__pycache__", "node_modules", ".cache", ".vscode", ".idea"}


def read_tree(root):
    """Every text file below `root`, but for what is built or fetched."""
    sources = []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in SKIPPED_FOLDERS)
        for name in sorted(files):
            path = pathlib.Path(folder) / name
            if path.suffix in SUFFIXES:
                sources.append(source(root, path))
    return sources


def scopes(code):
    """The braces: (offset of `{`, offset of `}`, kinds around it, own kind, the text before it)."""
    stack, last, found = [], 0, []
    for match in re.finditer(r"[{};]", code):
        token = match.group()
        if token == "{":
            header = code[last : match.start()].strip()
            stack.append((match.start(), kind_of(header), header))
            last = match.end()
        elif token == "}":
            if stack:
                begin, kind, header = stack.pop()
                found.append((begin, match.start(), [entry[1] for entry in stack], kind, header))
            last = match.end()
        else:
            last = match.end()
    return found


def kind_of(header):
    """('namespace', names), ('class', name) or ('block', '') for the text before a `{`."""
    header = re.sub(r"^[ \t]*#[^\n]*$", " ", header, flags=re.MULTILINE)
    header = re.sub(r"\b(public|protected|private)\s*:(?!:)", " ", header).strip()
    if re.match(r"inline\s+namespace\b", header):
        return "namespace", []
    if match := re.match(r"namespace\b(.*)$", header, re.DOTALL):
        names = re.sub(
            r"\[\[.*?\]\]|\binline\s+\w+|__attribute__.*", " ", match.group(1), flags=re.DOTALL
        )
        return "namespace", [name for name in re.split(r"::|\s+", names) if name]
    match = re.match(
        r"(?:template\s*<.*>\s*)?(?:requires\b.*\s)?(?:class|struct|union)\b(?!.*\)\s*$)(.*)$",
        header,
        re.DOTALL,
    )
    if match and not header.startswith("enum"):
        rest = re.sub(
            r"\[\[.*?\]\]|\bCORO_\w+|\balignas\s*\([^)]*\)", " ", match.group(1), flags=re.DOTALL
        )
        if name := re.match(r"\s*([\w:]+)", rest):
            return "class", [name.group(1)]
    return "block", []


def operations_of(file):
    """{qualified name: line} of the functions declared [[nodiscard("co_await …")]] in a header."""
    found = {}
    for name, line in declared_operations(file):
        found.setdefault(name, line)
    return found


def declared_operations(file):
    """(qualified name, line) of each such declaration: an overload is one of its own."""
    spans = scopes(file.code)
    for match in re.finditer(r"\[\[\s*nodiscard\s*\(\s*\"co_await", file.text):
        if not file.code.startswith("[[", match.start()):
            continue
        # A macro that holds the attribute declares nothing.
        if re.search(r"^[ \t]*#[^\n]*(\\\n[^\n]*)*\Z", file.text[: match.start()], re.MULTILINE):
            continue
        after = re.compile(r"\]\]").search(file.code, match.end())
        rest = file.code[after.end() :] if after else ""
        before = file.code[: match.start()].rstrip()
        if re.search(r"\b(class|struct)$", before) or re.match(r"\s*(class|struct)\b", rest):
            continue
        name = declared_name(rest)
        if not name:
            line = file.line_at(match.start())
            yield f"<unreadable declaration at {file.name}:{line}>", line
            continue
        path = []
        for begin, end, outer, kind, _ in sorted(spans):
            if begin < match.start() < end and kind[0] != "block":
                path += kind[1]
        if "detail" not in path:
            yield "::".join(path + [name]), file.line_at(match.start())


def declared_name(rest):
    """The name of the function that this text declares: the identifier before the first `(` of its
    own."""
    depth = 0
    token = re.compile(
        r"\[\[.*?\]\]|decltype\s*\(|requires\s*\(|noexcept\s*\(|->|operator\b|[\w~]+|[<>();{}=]",
        re.DOTALL,
    )
    last, position = None, 0
    while match := token.search(rest, position):
        text, position = match.group(), match.end()
        if text in ("<", ">"):
            depth += 1 if text == "<" else -1
        elif text.startswith(("decltype", "requires", "noexcept")) and text.endswith("("):
            open_count = 1
            while open_count and position < len(rest):
                open_count += {"(": 1, ")": -1}.get(rest[position], 0)
                position += 1
        elif text == "operator":
            return None
        elif depth == 0 and text == "(":
            return last
        elif depth == 0 and text in ";{}=":
            return None
        elif depth == 0 and re.fullmatch(r"\w+", text):
            last = text
    return None
