#!/usr/bin/env python3
"""labctl's converging program: makes this machine what /etc/labctl/guest.json says. Python 3.9+, no other modules.

    converge [--check] [--run ID] [--document FILE] [--root DIR] [--wait SECONDS]

Writes what differs, restarts what depends on it, and reports to /run/labctl/report.json (also to
/var/lib/labctl/last.json when done). Running it again changes nothing; killed anywhere, running it again finishes
the work. One item that fails does not stop the others; only commands wait for everything before them, and what a role
starts for what it waits for. When somebody replaces the document meanwhile, the run ends after the item that it is at, whose
programs it never stops, and says so ("superseded"): the next run is about the newer document.

--check changes nothing and prints the report: its "changed" is then what differs.
--run is a name that comes back in the report. --root is for tests: files below DIR, programs from PATH.
Exit status: 0 all true, or left to a newer document (check: nothing differs), 2 (check only) something differs, 1 an item failed.
"""
import base64, ctypes, difflib, fcntl, glob, grp, hashlib, http.client, io, ipaddress, json, os, pwd, random, re, shutil, signal, socket
import ssl, stat, struct, subprocess, sys, time, urllib.error, urllib.parse, urllib.request

VERSION = 2
LAST_LINES = 20  # of a program's output, kept with an error
COMMAND_DEADLINE = 3600  # seconds for one command or one package installation
DOCUMENT_PATH = "/etc/labctl/guest.json"
BEGIN, END = "# labctl begin: names of the lab, written by labctl", "# labctl end"


class Problem(Exception):
    """An item that could not be made true, and what the program that was tried printed."""

    def __init__(self, text, output=""):
        super().__init__(text)
        self.output = output


class Stop(Problem):
    """Something is so wrong that nothing after it is begun."""


class Newer(Stop):
    """Another document has come in the place of the one that this run works on."""


class Converger:
    """One run: the document, what earlier runs left in memory, and the report."""

    def __init__(self, root, check, run):
        self.root, self.check = root.rstrip("/"), check
        self.memory = {}
        self.onchange = {}  # by command, the files whose change runs it again
        self.noted = []  # what the current item found different
        self.failed = set()  # kinds with a failed item
        self.waiting = False  # something has to be brought first
        self.document = None  # the bytes of DOCUMENT_PATH that this run works on, if it does
        self.report = {"version": VERSION, "run": run, "check": check, "digest": "", "state": "running",
                       "pid": os.getpid(), "ok": False, "phase": "", "done": 0, "total": 0, "seconds": 0.0,
                       "superseded": False, "changed": [], "errors": []}
        self.began = time.monotonic()

    # --- files

    def path(self, p):
        return self.root + p

    def read(self, p):
        try:
            with open(self.path(p), "rb") as f:
                return f.read()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, p, data, mode=0o644, uid=0, gid=0):
        """Writes a whole file or nothing; missing folders are made."""
        self.make(p, lambda f: f.write(data), mode, uid, gid)

    def make(self, p, fill, mode, uid, gid):
        """Makes a whole file, or nothing, of what fill writes."""
        full = self.path(p)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        if os.path.isdir(full) and not os.path.islink(full):
            raise Problem(p + " is a folder")
        tmp = os.path.join(os.path.dirname(full), ".labctl-" + os.path.basename(full))
        if os.path.lexists(tmp):
            os.remove(tmp)
        fd = os.open(tmp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(fd, "wb") as f:
                fill(f)
                if not self.root:
                    os.fchown(fd, uid, gid)
                os.fchmod(fd, mode)
            os.replace(tmp, full)
        except BaseException:  # a full disk, or what was fetched is not what was asked for
            os.remove(tmp)
            raise

    def save_json(self, p, value):
        self.write(p, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode(), 0o600)

    def remember(self):
        """Keeps memory before the step it is about, so that a killed run is finished by the next."""
        if not self.check:
            self.save_json("/var/lib/labctl/memory.json", self.memory)

    def load_memory(self):
        try:
            self.memory = json.loads(self.read("/var/lib/labctl/memory.json") or b"{}")
        except ValueError:  # a machine that lost power in the middle of a write
            self.memory = {}
        for key, empty in (("files", {}), ("commands", []), ("restart", []), ("again", []), ("sources", {}), ("data", {}), ("users", {}), ("brought", {}), ("reload", False), ("network", {}),
                           ("keys", []), ("sysctls", {}), ("forwarding", {})):
            self.memory.setdefault(key, empty)

    # --- programs

    def sh(self, argv, deadline=600, env=None, input=b""):
        """Runs a program; returns its exit status and output, errors included. The deadline is for one that hangs: an
        emulated machine's clock may run several times too fast while the host is busy."""
        try:
            p = subprocess.run(argv, input=input, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=deadline, env=dict(os.environ, LC_ALL="C.UTF-8", **(env or {})))
        except FileNotFoundError:
            return 127, argv[0] + " is not installed"
        except subprocess.TimeoutExpired as e:
            return 124, (e.stdout or b"").decode(errors="replace") + "\nstopped after %d seconds" % deadline
        return p.returncode, p.stdout.decode(errors="replace")

    def must(self, text, argv, **more):
        status, out = self.sh(argv, **more)
        if status:
            raise Problem("%s: exit status %d" % (text, status), out)
        return out

    # --- items

    def differs(self, what):
        """Notes a difference of the current item; says whether to mend it."""
        self.noted.append(what)
        return not self.check

    def item(self, kind, name, function, *args):
        label = kind + " " + name if name else kind
        self.give_way()
        self.report["phase"] = label
        self.publish()
        self.noted = []
        try:
            function(*args)
            self.report["changed"] += [{"item": label, "what": w} for w in self.noted]
        except Stop:  # it has told its failures, or is none
            raise
        except Problem as e:
            self.waiting = self.waiting or isinstance(e, Awaited)
            self.fail(kind, label, str(e), e.output)
        except Exception as e:  # whatever it is, it must not stop the other items
            self.fail(kind, label, "%s: %s" % (type(e).__name__, e))
        self.report["done"] += 1

    def fail(self, kind, label, text, output=""):
        self.failed.add(kind)
        lines = output.strip().splitlines()[-LAST_LINES:]
        self.report["errors"].append({"item": label, "error": text, "output": "\n".join(lines)})

    def give_way(self):
        """Ends the run, where nothing is half done, if there is a newer document."""
        if self.document is not None and self.read(DOCUMENT_PATH) not in (self.document, None):
            raise Newer("a newer document has come")

    def publish(self):
        self.report["seconds"] = round(time.monotonic() - self.began, 2)
        if not self.check:
            self.save_json("/run/labctl/report.json", self.report)

    def end(self):
        r = self.report
        r["state"], r["phase"], r["ok"] = "done", "", not r["errors"] and not r["superseded"]
        self.publish()
        if self.check:
            print(json.dumps(r))
            return 1 if r["errors"] else 2 if r["changed"] else 0
        self.save_json("/var/lib/labctl/last.json", r)
        for c in r["changed"]:
            print("labctl: %s: %s" % (c["item"], c["what"]))
        for e in r["errors"]:
            print("labctl: FAILED %s: %s\n%s" % (e["item"], e["error"], e["output"]))
        if r["superseded"]:
            print("labctl: a newer document has come; what is left is for the run about that one")
        return 0 if r["ok"] or r["superseded"] else 1
