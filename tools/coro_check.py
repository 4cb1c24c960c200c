#!/usr/bin/env python3
"""Finds the statements of coroutines that g++ 12 compiles wrongly, or not at all.

    coro-check [--compiler clang++-19] [--outside DIR]... [--flags FILE] SOURCE...
               [-- FLAGS...]
    coro-check [--compiler clang++-19] [--outside DIR]... --build TREE [SOURCE...]

FLAGS are what the sources are compiled with: -std=c++20, -I, -D; FILE holds more, one a line. With
--build they are taken from TREE/compile_commands.json, and SOURCE defaults to all that it names.
clang 19 reads the sources and compiles nothing. What it finds below a DIR of --outside is not
reported, and neither are headers in a directory of the system: /usr/include, /usr/lib*,
/usr/local/include, clang's own, and those of -isystem. A SOURCE that is named is always looked at.

Prints `file:line:column: what is wrong [the cure]` for each finding. Ends with 1 when there is one,
with 0 when there is none, and with 2 when it could not look.
"""
import argparse
import functools
import gc
import glob
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

ADVICE = ("install it (apt-get install clang-19), or name another one with --compiler "
          "(CMake: -DCORO_CHECK_COMPILER=...)")
NAME_IT = "give it a name in a statement of its own"

# What is said of each kind of statement, and what to do. The kinds are those of tests/check.
SENTENCES = {
    "aggregate": (
        "g++ 12 destroys this aggregate twice, because it is made in a statement that awaits",
        f"await first, or {NAME_IT}",
    ),
    "closure": (
        "g++ 12 destroys the captures of this lambda twice, because its statement awaits",
        f"{NAME_IT} that does not await",
    ),
    "conditional": (
        "g++ 12 destroys the result of this ?: twice, because its statement awaits",
        "write if and else",
    ),
    "throw": (
        "g++ 12 destroys this exception twice, because its statement awaits",
        "await first, and throw in a statement of its own",
    ),
    "condition": (
        "g++ 12 loses its way here: the condition awaits, and the function declares no variable",
        "name what is awaited: const auto value = co_await ...",
    ),
    "array": (
        "g++ 12 cannot compile a braced list, which is an array, in a statement that awaits",
        f"{NAME_IT}, and await first",
    ),
    "operand": (
        "g++ 12 stops with an internal error: left of &&, || or ? is a temporary, right an await",
        "name the left side in a statement of its own",
    ),
}


# ---- what clang says -----------------------------------------------------------------------------


def in_order(top, below):
    """All of a tree; generators within generators would cost the depth for each node."""
    stack = [top]
    while stack:
        each = stack.pop()
        yield each
        stack.extend(reversed(below(each)))


# Trees of a million nodes are made at once, and none of them is garbage.
gc.set_threshold(200_000)


class node:
    """A line of clang's dump, and those below it."""

    __slots__ = ("kind", "text", "place", "inner", "parent")

    def __init__(self, kind, text, place, parent):
        self.kind = kind
        self.text = text  # what follows the place: type, name, flags
        self.place = place  # (file, line, column)
        self.parent = parent
        self.inner = []

    def all(self):
        return in_order(self, lambda each: each.inner)

    def is_statement(self):
        return self.kind.endswith("Stmt")

    def is_expression(self):
        return not self.kind.endswith(("Stmt", "Decl", "<<<NULL>>>"))


ADDRESSES = r"(?: 0x[0-9a-f]+(?: (?:parent|prev) 0x[0-9a-f]+)*)?"
LINE = re.compile(r"^([| `-]*)(<<<NULL>>>|\S+)" + ADDRESSES + " ?(.*)$")
POINT = r"(?:col:(\d+)|line:(\d+):(\d+)|(<invalid sloc>)|((?:<[a-z -]+>|[^<>,]+?)):(\d+):(\d+))"
BEGIN = re.compile("<" + POINT)
END = re.compile(", " + POINT)
NAME = re.compile("> " + POINT + r"(?= |$)")
FILE_AND_LINE = re.compile(r"(?:<|, |> )(?:line|((?:<[a-z -]+>|[/.\w])[^<>,:'()]*)):(\d+):\d+")


class cursor:
    """clang leaves out of a place what is as in the place before it."""

    def __init__(self, file, line):
        self.file, self.line = file, line

    def move(self, match):
        column, line, column_of_line, invalid, file, line_of_file, column_of_file = match.groups()
        if invalid:
            return None
        if file:
            self.file, self.line, column = file, int(line_of_file), column_of_file
        elif line:
            self.line, column = int(line), column_of_line
        return self.file, self.line, int(column)


def tree_of(lines, at):
    """The tree of a declaration at the top of the dump."""
    root = node("", "", None, None)
    path = [root]
    for line in lines:
        match = LINE.match(line)
        if not match:
            continue
        depth = len(match[1]) // 2
        rest = match[3]
        place = None
        begin = BEGIN.match(rest)
        if begin:
            place = at.move(begin)
            rest = rest[begin.end():]
            end = END.match(rest)
            if end:
                at.move(end)
                rest = rest[end.end():]
            name = NAME.match(rest)
            if name:
                at.move(name)
                rest = rest[name.end():]
        del path[depth:]
        new = node(match[2], rest, place, path[-1])
        path[-1].inner.append(new)
        path.append(new)
    return root


def before(dump, end):
    """The file and the line that hold at this point of the dump."""
    file, line = None, None
    while end > 0 and file is None:
        start = dump.rfind("\n", 0, end) + 1
        for found in reversed(list(FILE_AND_LINE.finditer(dump, start, end))):
            line = line or int(found[2])
            file = found[1]
            if file:
                break
        end = start - 1
    return cursor(file or "", line or 0)


def declarations(dump):
    """The trees of those declarations at the top that hold a coroutine."""
    at = 0
    while True:
        at = dump.find("CoroutineBodyStmt 0x", at)
        if at < 0:
            return
        start = max(dump.rfind("\n|-", 0, at), dump.rfind("\n`-", 0, at)) + 1
        ends = [end for end in (dump.find("\n|-", at), dump.find("\n`-", at)) if end >= 0]
        end = min(ends, default=len(dump))
        yield tree_of(dump[start:end].split("\n"), before(dump, start - 1))
        at = end


# ---- full expressions ----------------------------------------------------------------------------

AWAITS = {"CoawaitExpr", "CoyieldExpr", "DependentCoawaitExpr"}
# What may stand between a temporary and the expression that makes it.
WRAPPERS = {
    "CXXFunctionalCastExpr", "ImplicitCastExpr", "ExprWithCleanups", "ParenExpr", "ConstantExpr",
    "CXXStaticCastExpr", "CStyleCastExpr", "SubstNonTypeTemplateParmExpr", "CXXBindTemporaryExpr",
    "MaterializeTemporaryExpr",
}  # fmt: skip
LISTS = {"InitListExpr", "CXXParenListInitExpr"}
CONDITIONALS = {"ConditionalOperator", "BinaryConditionalOperator"}


def parts(expression):
    """What is evaluated with it. Each await comes several times in the dump; the second part of its
    node is what it really awaits."""
    if expression.kind in ("CoawaitExpr", "CoyieldExpr"):
        return expression.inner[1:2] or expression.inner[:1]
    if expression.kind == "LambdaExpr":  # what its captures are made of
        return [each for each in expression.inner if each.is_expression()]
    return [each for each in expression.inner if each.is_expression()]


def walk(expression):
    return in_order(expression, parts)


def awaits(expression):
    return any(each.kind in AWAITS for each in walk(expression))


def origin(expression):
    """What makes a temporary, behind the wrappers. T{t} with another T is one too."""
    while expression.inner:
        same = len(expression.inner) == 1 and type_of(expression) == type_of(expression.inner[0])
        if expression.kind not in WRAPPERS and not (expression.kind in LISTS and same):
            break
        expression = expression.inner[0]
    return expression


def type_of(expression):
    return re.search("'[^']*'", expression.text + "''")[0]


def is_bound(expression):
    """Whether it is a temporary that somebody has to destroy."""
    while expression.kind in WRAPPERS and expression.inner:
        if expression.kind == "CXXBindTemporaryExpr":
            return True
        expression = expression.inner[0]
    if expression.kind == "CoawaitExpr":
        return expression.inner[-1].kind == "CXXBindTemporaryExpr"
    return expression.kind in CONDITIONALS and any(map(is_bound, expression.inner[-2:]))


def is_array(expression):
    return re.match(r"[^']*'[^']*\[\d*\]'", expression.text) is not None


def owns(element):
    """Whether an element of a braced list is an object that somebody has to destroy. Of a copy
    clang does not say it."""
    last = origin(element)
    if last.kind in LISTS:
        return any(map(owns, last.inner))
    return is_bound(element) or last.kind == "CXXConstructExpr"


class judge:
    """Collects the findings of one coroutine."""

    def __init__(self, found):
        self.found = found

    def add(self, kind, at):
        """What a default argument makes stands at the call, for there it is made."""
        place, above = at.place, at
        while above.is_expression() and above.parent is not None:
            if above.kind in ("CXXDefaultArgExpr", "CXXDefaultInitExpr"):
                place = None
            above = above.parent
            place = place or above.place
        if place:
            self.found.append((*place, kind))

    def full_expression(self, whole, variable=None):
        if not awaits(whole):
            return
        if variable is not None and " destroyed" in variable.text:
            self.made(whole)
        for each in walk(whole):
            if each.kind == "CXXBindTemporaryExpr" and not is_array(each):
                self.made(each)
            elif each.kind in CONDITIONALS and is_bound(each):
                self.add("conditional", each)
            elif each.kind == "CXXThrowExpr" and each.inner and is_bound(each.inner[0]):
                self.add("throw", each)
            elif each.kind == "CXXNewExpr" and any(map(owns, each.inner)):
                for initializer in each.inner:
                    self.made(initializer)
            elif each.kind == "MaterializeTemporaryExpr" and is_array(each):
                if "extended by" not in each.text:
                    self.add("array", each)
                elif is_bound(each):
                    self.add("aggregate", each)

    def made(self, temporary):
        by = origin(temporary)
        if by.kind in LISTS and by.inner:
            self.add("aggregate", by)
        elif by.kind == "LambdaExpr":
            self.add("closure", by)

    def operands(self, whole):
        """Temporaries left of an operator, and the await right of it, at the top of a statement."""
        through = WRAPPERS | LISTS | {"UnaryOperator"}
        while whole.inner and (whole.kind in through or is_assignment(whole)):
            if "<IntegralCast>" in whole.text:
                return
            whole = whole.inner[-1]
        if not is_short_circuit(whole) or len(whole.inner) < 2:
            return
        left, right = whole.inner[0], whole.inner[1:]
        if any(map(awaits, right)) and not awaits(left):
            if any(each.kind == "CXXBindTemporaryExpr" for each in walk(left)):
                self.add("operand", whole)


def is_assignment(expression):
    return expression.kind == "BinaryOperator" and expression.text.endswith(" '='")


def is_short_circuit(expression):
    return expression.kind == "ConditionalOperator" or (
        expression.kind == "BinaryOperator" and expression.text.endswith((" '&&'", " '||'"))
    )


# ---- statements ----------------------------------------------------------------------------------


def condition_of(statement):
    inner = statement.inner
    if statement.kind == "DoStmt":
        return inner[1] if len(inner) > 1 else None
    if statement.kind == "ForStmt":
        return inner[2] if len(inner) > 2 else None
    if statement.kind in ("IfStmt", "WhileStmt", "SwitchStmt"):
        skip = (" has_init" in statement.text) + (" has_var" in statement.text)
        return inner[skip] if len(inner) > skip else None
    return None


def declares(body):
    """Whether anything is declared in it: then g++ makes a block, and conditions may await."""
    for each in body.all():
        if each.kind in ("LambdaExpr", "CXXForRangeStmt"):
            return True
        if each.kind == "DeclStmt" and any(d.kind != "StaticAssertDecl" for d in each.inner):
            return True
        if each.kind == "CXXCatchStmt" and any(d.kind == "VarDecl" for d in each.inner):
            return True
    return False


def statements(body):
    yield body
    for each in body.inner:
        if each.is_statement():
            yield from statements(each)


# Where a short circuit is compiled in a way of its own, and rightly.
OWN_WAYS = {"WhileStmt", "DoStmt", "ForStmt", "SwitchStmt"}


def judge_coroutine(coroutine, found):
    verdict = judge(found)
    body = coroutine.inner[0]
    function = coroutine.parent
    is_lambda = function.kind == "LambdaExpr" or " operator() '" in function.text
    alone = not is_lambda and not declares(body)
    for each in statements(body):
        if each.kind == "DeclStmt":
            for variable in each.inner:
                for made in variable.inner:
                    if variable.kind in ("VarDecl", "DecompositionDecl") and made.is_expression():
                        verdict.full_expression(made, variable)
                        verdict.operands(made)
        elif each.kind == "CoreturnStmt":
            # The operand, and the call to the promise that holds it once more.
            for operand in each.inner[-1:]:
                verdict.full_expression(operand)
        else:
            for expression in each.inner:
                if expression.is_expression():
                    verdict.full_expression(expression)
                    if each.kind not in OWN_WAYS:
                        verdict.operands(expression)
        condition = condition_of(each)
        if alone and condition is not None and condition.is_expression() and awaits(condition):
            verdict.add("condition", each)


def findings(dump):
    """(file, line, column, kind) of all that is wrong, each once."""
    found = []
    for tree in declarations(dump):
        for each in tree.all():
            if each.kind == "CoroutineBodyStmt":
                judge_coroutine(each, found)
    return sorted(set(found))


# ---- the command ---------------------------------------------------------------------------------


class cannot(Exception):
    pass


def dump_of(compiler, source, flags, folder):
    command = [compiler, *flags, "-w", "-fsyntax-only", "-fno-color-diagnostics",
               "-Xclang", "-ast-dump", "-x", "c++", str(source)]  # fmt: skip
    run = subprocess.run(command, capture_output=True, cwd=folder, check=False)
    if run.returncode != 0:
        text = run.stderr.decode(errors="replace")
        raise cannot(f"{source}: {compiler} cannot compile it, so nothing was looked at:\n{text}")
    return run.stdout.decode(errors="replace")


# Flags of g++ that clang does not know, and what a compile command says beside the flags.
DROPPED = re.compile(
    r"-(c|W.*|O.*|g.*|pipe|M[DMGP]*"
    r"|f(?!no-exceptions|no-rtti|char8_t|no-char8_t|short|signed-char|unsigned-char).*)$"
)
DROPPED_WITH_VALUE = {"-o", "-MF", "-MT", "-MQ", "-include-pch"}


def flags_of(command):
    """The flags of a compile command that matter here."""
    out, words = [], iter(command[1:])
    for word in words:
        if word in DROPPED_WITH_VALUE:
            next(words, None)
        elif word == "-Winvalid-pch" or DROPPED.match(word):
            continue
        else:
            out.append(word)
    return out


def flags_in(file):
    """Those that CMake wrote, one a line; behind SHELL: stand several, quoted as for a shell."""
    try:
        lines = pathlib.Path(file).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise cannot(f"the flags in {file} cannot be read ({error})") from error
    words = []
    for line in lines:
        several = line.startswith("SHELL:")
        words += shlex.split(line[len("SHELL:"):]) if several else [line] * bool(line)
    return flags_of(["", *words])


def jobs_of_build(tree, sources):
    path = pathlib.Path(tree) / "compile_commands.json"
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise cannot(f"{path} cannot be read ({error}): configure with "
                     "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON") from error
    wanted = {os.path.realpath(each) for each in sources}
    seen = set()
    for entry in entries:
        file = os.path.realpath(os.path.join(entry["directory"], entry["file"]))
        if file in seen or (wanted and file not in wanted):
            continue
        seen.add(file)
        words = entry.get("arguments") or shlex.split(entry["command"])
        while "=" not in words[0] and os.path.basename(words[0]) in ("ccache", "sccache", "distcc"):
            words = words[1:]
        flags = [word for word in flags_of(words) if word != entry["file"]]
        yield file, flags, entry["directory"]
    if missing := wanted - seen:
        names = ", ".join(sorted(missing))
        raise cannot(f"{path} does not name {names}; if that build unites files, "
                     "configure one with -DCMAKE_UNITY_BUILD=OFF")


@functools.cache
def directories_of_system(compiler):
    """Not all of /usr: programs are built in /usr/src, too."""
    asked = subprocess.run([compiler, "-print-resource-dir"], capture_output=True, text=True,
                           check=False)
    of_compiler = [asked.stdout.strip()] if asked.returncode == 0 else []
    return ["/usr/include", "/usr/local/include", *sorted(glob.glob("/usr/lib*")), *of_compiler]


def directories_of_flags(flags):
    words = iter(flags)
    for word in words:
        if word == "-isystem":
            yield next(words, "")
        elif word.startswith("-isystem"):
            yield word[len("-isystem"):]


def check(compiler, source, flags, folder, outside, is_named):
    """The findings in the user's files, as lines."""
    def is_below(path, directories):
        below = (os.path.realpath(os.path.join(folder, each)) for each in directories if each)
        return any(path.startswith(each + os.sep) for each in below)

    own = os.path.realpath(os.path.join(folder, source))
    system = [*directories_of_system(compiler), *directories_of_flags(flags)]
    for file, line, column, kind in findings(dump_of(compiler, source, flags, folder)):
        path = os.path.realpath(os.path.join(folder, file))
        if not os.path.exists(path):
            continue
        if not (is_named and path == own) and is_below(path, outside):
            continue
        if path != own and is_below(path, system):
            continue
        wrong, cure = SENTENCES[kind]
        yield f"{file}:{line}:{column}: {wrong} [{cure}]"


def main(arguments):
    flags = []
    if "--" in arguments:
        at = arguments.index("--")
        arguments, flags = arguments[:at], arguments[at + 1:]
    parser = argparse.ArgumentParser(
        prog="coro-check", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--compiler", default="clang++-19")
    parser.add_argument("--outside", action="append", default=[], metavar="DIR")
    parser.add_argument("--build", metavar="TREE")
    parser.add_argument("--flags", metavar="FILE")
    parser.add_argument("sources", nargs="*", metavar="SOURCE")
    options = parser.parse_args(arguments)
    if not options.sources and not options.build:
        parser.error("name a source, or a build tree with --build")
    try:
        if not shutil.which(options.compiler):
            raise cannot(f"{options.compiler}, which reads the sources, is not there: {ADVICE}")
        here = os.getcwd()
        if options.flags:
            flags = flags_in(options.flags) + flags
        jobs = [(source, flags, here) for source in options.sources]
        if options.build:
            jobs = jobs_of_build(options.build, options.sources)
        lines = []
        for source, its_flags, folder in jobs:
            lines += check(options.compiler, source, its_flags, folder, options.outside,
                           bool(options.sources))
    except cannot as error:
        print(f"coro-check: {error}", file=sys.stderr)
        return 2
    for line in dict.fromkeys(lines):
        print(line)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
