"""The real servers that the tests of the clients talk to: Redis and PostgreSQL, as the distribution
has them. Each is started in a temporary directory, on a free port, and ended by its process id."""
import contextlib
import functools
import glob
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from support import PATIENCE, free_port, program

REQUIRED = os.environ.get("CORO_TEST_DATABASES") == "required"
NEWEST = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: int(path.split("/")[-2]))


def tool(name):
    """Where a program of the server is; Debian keeps those of PostgreSQL out of the PATH."""
    places = [os.environ.get("PATH", ""), *reversed(NEWEST)]
    return shutil.which(name, path=":".join(places))


def ends_without(example, *programs):
    """Ends this test where something is missing: with 77, which is a skip to ctest; with 1 where
    scripts/test has installed it."""
    missing = [f"{name} is not installed" for name in programs if not tool(name)]
    if not program(example).exists():
        missing.append(f"{program(example)} is not built: its client library is not installed")
    if missing:
        verdict = "failed" if REQUIRED else "skipped"
        print(f"{verdict}: {', '.join(missing)}; scripts/test --all installs it", flush=True)
        sys.exit(1 if REQUIRED else 77)


def until(what, asked):
    """Waits until asked() is true; `what` says for what, where that takes too long."""
    give_up = time.monotonic() + PATIENCE
    while not asked():
        if time.monotonic() > give_up:
            raise AssertionError(f"waited {PATIENCE} s for: {what}")
        time.sleep(0.01)


class database:
    """A server process in a directory of its own."""

    def __init__(self):
        self.place = pathlib.Path(tempfile.mkdtemp(prefix="coro-test-"))
        self.port = free_port()
        self.process = None
        self.log = self.place / "log"
        self.clean_up = contextlib.ExitStack()
        self.clean_up.callback(shutil.rmtree, self.place, ignore_errors=True)

    def launch(self, command):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.place, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def wait_until_it_answers(self, asked):
        def answered():
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended: {self.log.read_text('utf-8')[-2000:]}")
            return asked()

        until("the server answers", answered)

    def end(self, how=signal.SIGKILL):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def __enter__(self):
        try:
            self.start()
        except AssertionError:
            if "in use" not in self.log.read_text("utf-8"):
                self.__exit__()
                raise
            self.port = free_port()  # another process was faster
            self.start()
        return self

    def __exit__(self, *_):
        self.end()
        self.clean_up.close()


class redis(database):
    def start(self):
        self.launch(
            [tool("redis-server"), "--port", str(self.port), "--bind", "127.0.0.1",
             "--save", "", "--appendonly", "no", "--dir", str(self.place)]
        )  # fmt: skip
        self.wait_until_it_answers(self.answers)

    def answers(self):
        try:
            return self.ask("PING") == "PONG"
        except OSError:
            return False

    def ask(self, *words):
        """One command on a connection of its own; errors are texts that begin with `-`."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as stream:
            stream.sendall(f"*{len(words)}\r\n".encode("ascii"))
            for word in words:
                stream.sendall(f"${len(word.encode())}\r\n{word}\r\n".encode())
            with stream.makefile("rb") as reply:
                head = reply.readline().decode()
                if not head:
                    raise ConnectionResetError
                if head[0] == "$":
                    return reply.read(int(head[1:])).decode() if head[1] != "-" else None
                return head.rstrip("\r\n")[1 if head[0] in "+:" else 0:]

    def clients(self):
        """All connections but its own, as CLIENT LIST has them: a dictionary each."""
        lines = self.ask("CLIENT", "LIST").splitlines()
        every = [dict(pair.split("=", 1) for pair in line.split(" ") if "=" in pair)
                 for line in lines]  # fmt: skip
        return [each for each in every if not each["cmd"].startswith("client")]


class postgres(database):
    """As root it runs as the user `postgres`: PostgreSQL refuses root."""

    def __init__(self):
        super().__init__()
        self.data = self.place / "data"
        self.as_user = []
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            os.chown(self.place, owner.pw_uid, owner.pw_gid)
            self.as_user = ["setpriv", f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}",
                            "--clear-groups"]  # fmt: skip
        self.log.touch()
        made = subprocess.run(
            [*self.as_user, tool("initdb"), "-D", self.data, "-A", "trust", "-U", "postgres",
             "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"],
            cwd=self.place, capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        if made.returncode != 0:
            self.clean_up.close()
            raise AssertionError(f"initdb: {made.stdout}{made.stderr}")

    def start(self):
        self.launch(
            [*self.as_user, tool("postgres"), "-D", self.data, "-p", str(self.port),
             "-k", self.place, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off",
             "-c", "shared_buffers=8MB", "-c", "max_connections=40",
             "-c", "autovacuum=off"]
        )  # fmt: skip
        ready = [tool("pg_isready"), "-q", "-h", self.place, "-p", str(self.port)]
        self.wait_until_it_answers(lambda: subprocess.run(ready, check=False).returncode == 0)

    def end(self, how=signal.SIGQUIT):  # at once, with all its processes
        super().end(how)

    def words(self, **more):
        """Of a connection string."""
        known = {"host": "127.0.0.1", "port": self.port, "user": "postgres", "dbname": "postgres"}
        return [f"{key}={value}" for key, value in {**known, **more}.items()]


class admin:
    """A session of psql beside those of the example; any thread may ask."""

    def __init__(self, of):
        self.lock = threading.Lock()
        self.process = subprocess.Popen(
            [tool("psql"), "-X", "-q", "-A", "-t", "-h", of.place, "-p", str(of.port),
             "-U", "postgres", "-d", "postgres"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        )  # fmt: skip

    def ask(self, sql):
        """The rows, as texts."""
        with self.lock:
            self.process.stdin.write(f"{sql};\n\\echo END OF ROWS\n")
            rows = []
            while (line := self.process.stdout.readline()) != "END OF ROWS\n":
                if not line:
                    raise AssertionError("psql has ended")
                rows.append(line.rstrip("\n"))
            return rows

    def sessions(self, more="true"):
        """The process ids of all sessions but its own."""
        return self.ask("select pid from pg_stat_activity where backend_type = 'client backend' "
                        f"and pid <> pg_backend_pid() and {more}")  # fmt: skip

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()


class most_sessions:
    """Counts the sessions in a database again and again meanwhile, and keeps the most."""

    def __init__(self, of, name):
        self.admin = admin(of)
        self.which = f"datname = '{name}'"
        self.most = 0
        self.begun = threading.Event()
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.look)

    def look(self):
        last = False
        while not last:
            last = self.over.wait(0.001)
            self.most = max(self.most, len(self.admin.sessions(self.which)))
            self.begun.set()

    def __enter__(self):
        self.thread.start()
        self.begun.wait(PATIENCE)
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        self.admin.__exit__()


class client:
    """A client of a server of lines."""

    def __init__(self, of):
        self.stream = of.connect()
        self.lines = self.stream.makefile("rw", encoding="utf-8", newline="\n")

    def send(self, line):
        self.lines.write(line + "\n")
        self.lines.flush()

    def receive(self):
        return self.lines.readline().rstrip("\n")

    def ask(self, line):
        self.send(line)
        return self.receive()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.lines.close()
        self.stream.close()


@contextlib.contextmanager
def clients_of(example, count):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(client(example)) for _ in range(count)]


def at_once(callers, what):
    """Calls what(caller, number) in a thread each; their results, in order."""
    results = [None] * len(callers)

    def call(number):
        try:
            results[number] = what(callers[number], number)
        except Exception as error:  # it is looked at by who compares the results
            results[number] = error

    threads = [threading.Thread(target=call, args=(number,)) for number in range(len(callers))]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return results


def in_each(ways):
    """A test that is called with the values of each way, in a thread each: it mostly waits."""

    def decorate(test):
        @functools.wraps(test)
        def of_all(self):
            ended = at_once(ways, lambda way, _: test(self, *way))
            wrong = [pair for pair in zip(ways, ended) if pair[1] is not None]
            if wrong:
                names, first = [way for way, _ in wrong], wrong[0][1]
                raise AssertionError(f"{names}: {first}") from first

        return of_all

    return decorate
