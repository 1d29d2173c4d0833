# --- units

SHOW = ["Id", "Type", "LoadState", "ActiveState", "SubState", "UnitFileState", "Result", "ExecMainStartTimestampMonotonic",
        "MainPID", "NRestarts"]
SETTLE = 10  # seconds that a service which has just started is watched at most


def unit_name(u):
    return u if u.rsplit(".", 1)[-1] in ("service", "socket", "timer", "mount", "target", "path", "slice") else u + ".service"


def unit_state(c, name):
    out = c.must("systemctl show", ["systemctl", "show", "-p", ",".join(SHOW), name])
    return dict(l.split("=", 1) for l in out.splitlines() if "=" in l)


def systemctl(c, verb, name):
    status, out = c.sh(["systemctl", verb, name], 600)
    if status:
        raise Problem("systemctl %s failed" % verb, out + "\n" + journal(c, name))


def journal(c, name):
    return c.sh(["journalctl", "-u", name, "-n", str(LAST_LINES), "--no-pager", "-o", "cat"])[1]


def is_running(s):
    if s.get("Type") == "oneshot" and s.get("ActiveState") == "inactive":  # it ran, that is all it does
        return s.get("Result") == "success" and s.get("ExecMainStartTimestampMonotonic", "0") not in ("", "0")
    return s.get("ActiveState") in ("active", "reloading") and s.get("SubState") != "auto-restart"


def unit(c, u):
    """Returns how often a unit that it started had been restarted before; else None."""
    name = unit_name(u["name"])
    s = unit_state(c, name)
    if s.get("LoadState") == "not-found":
        if u["enabled"] or u["running"]:
            raise Problem("there is no such unit")
        return
    if s.get("LoadState") == "masked" and (u["enabled"] or u["running"]) and c.differs("is masked"):
        systemctl(c, "unmask", name)
    fixed = s.get("UnitFileState") in ("static", "indirect", "generated", "transient", "alias")
    enabled = s.get("UnitFileState") in ("enabled", "enabled-runtime")
    if not fixed and enabled != u["enabled"] and c.differs("is not enabled" if u["enabled"] else "is enabled"):
        systemctl(c, "enable" if u["enabled"] else "disable", name)
    changed = name in c.memory["restart"]
    started = False
    if u["running"] and not is_running(s):
        started = c.differs("does not run")
    elif u["running"] and changed:
        started = c.differs("restarted, its files changed")
    elif not u["running"] and s.get("ActiveState") not in ("inactive", "failed") and c.differs("runs"):
        systemctl(c, "stop", name)
    if started:
        systemctl(c, "restart" if changed else "start", name)
    if changed and not c.check:
        c.memory["restart"].remove(name)
        c.remember()
    return s.get("NRestarts", "0") if started else None


def restart(c, name):
    """A unit that the document does not list, one of whose files changed."""
    if c.differs("its files changed"):
        if unit_state(c, name).get("LoadState") != "not-found":
            systemctl(c, "restart", name)
        c.memory["restart"].remove(name)
        c.remember()


def spent(pid):
    """Processor time that a process has used, in ticks; None if it is not there."""
    try:
        with open("/proc/%s/stat" % pid) as f:
            return sum(int(x) for x in f.read().rsplit(")", 1)[1].split()[11:13])
    except (OSError, ValueError, IndexError):
        return None


def settle(c, started):
    """A unit may die after systemctl start said it had started: each is watched until it has nothing to do. started
    has its restarts before that by name."""
    end, work = time.monotonic() + SETTLE, {}
    while started:
        time.sleep(0 if c.root else 0.5)
        for name, restarts in list(started.items()):
            s = unit_state(c, name)
            died = (s.get("ActiveState") == "failed" or s.get("SubState") == "auto-restart"
                    or s.get("NRestarts", "0") not in ("0", restarts))
            if died:
                c.fail("unit", "unit " + name, "started, then failed (%s)" % s.get("Result"), journal(c, name))
            before, work[name] = work.get(name), (s.get("MainPID"), spent(s.get("MainPID")))
            if died or work[name] == before or work[name][1] is None or time.monotonic() > end:
                del started[name]


def reload(c):
    if c.differs("unit files changed"):
        c.must("systemctl daemon-reload", ["systemctl", "daemon-reload"])
        c.memory["reload"] = False
        c.remember()


def units(c, want, ours):
    """ours says of a unit's name whether it is started again here when its files have changed, listed or not."""
    if c.memory["reload"]:
        c.item("daemon-reload", "", reload, c)
    started = {}
    for u in want:
        c.item("unit", u["name"], lambda: started.update({unit_name(u["name"]): unit(c, u)}))
    for name in list(c.memory["restart"]):
        if ours(name) and name not in {unit_name(u["name"]) for u in want}:
            c.item("unit", name, restart, c, name)
    settle(c, {name: n for name, n in started.items() if n is not None})


# --- commands

def command(c, cmd):
    text = hashlib.sha256(cmd["run"].encode()).hexdigest()
    creates = cmd.get("creates")
    again = cmd["name"] in c.memory["again"]
    done = os.path.lexists(c.path(creates)) if creates else text in c.memory["commands"]
    if done and not again:
        return
    if not c.differs("has not run since its files changed" if done else "has not made " + creates if creates else "has not run"):
        return
    if c.failed & {"source", "package", "packages", "file", "command"}:
        raise Problem("not run, because a source, package, file or command before it failed")
    c.noted = ["run"]
    if cmd.get("keep"):
        keep(c, cmd["keep"], cmd["run"])
    else:
        c.must("command failed", ["/bin/sh", "-c", cmd["run"]], deadline=COMMAND_DEADLINE)
    if creates and not os.path.lexists(c.path(creates)):
        raise Problem("it ran, but did not make " + creates)
    c.memory["commands"] = sorted(set(c.memory["commands"]) | {text})
    c.memory["again"] = [name for name in c.memory["again"] if name != cmd["name"]]
    c.remember()


def keep(c, name, text):
    """Runs a command whose output is a secret: it goes into a file that labctl fetches, and nowhere else. What a run that
    was killed had printed is not lost: such things are told once."""
    folder = c.path("/var/lib/labctl/kept")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    final = os.path.join(folder, name.replace("%", "%25").replace("/", "%2F"))
    partial = os.path.join(folder, "." + os.path.basename(final))
    if os.path.exists(partial) and os.path.getsize(partial):
        os.replace(partial, final + ".interrupted")
    fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "wb") as f:
        try:
            p = subprocess.run(["/bin/sh", "-c", text], stdin=subprocess.DEVNULL, stdout=f, stderr=subprocess.PIPE, timeout=COMMAND_DEADLINE)
        except subprocess.TimeoutExpired as e:
            raise Problem("stopped after %d seconds" % COMMAND_DEADLINE, (e.stderr or b"").decode(errors="replace"))
        f.flush()
        os.fsync(f.fileno())
    if p.returncode:
        raise Problem("command failed: exit status %d" % p.returncode, p.stderr.decode(errors="replace"))
    if os.path.getsize(partial):  # a command that finds its work done has nothing to tell
        os.replace(partial, final)
    else:
        os.remove(partial)
