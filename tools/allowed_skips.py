"""Which tests may be skipped: those that tests/CMakeLists.txt names behind ALLOW_SKIP. Where such a
one is skipped, the machine lacks something that it needs, and nobody has seen it pass."""
import re


class allowed_skips:
    def __init__(self, root):
        file = root / "tests/CMakeLists.txt"
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        lists = re.findall(r'ALLOW_SKIP((?:\s+"(?:[^"\\]|\\.)*")+)', text)
        self.regexes = [regex.replace("\\\\", "\\")
                        for each in lists for regex in re.findall(r'"((?:[^"\\]|\\.)*)"', each)]

    def __contains__(self, test):
        return any(re.fullmatch(regex, test) for regex in self.regexes)
