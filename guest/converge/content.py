# --- packages

APT = ["apt-get", "-y", "-q", "-o", "DPkg::Lock::Timeout=600", "-o", "Acquire::Retries=3", "-o", "Acquire::Retries::Delay=false",
       "-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold"]
APT_ENV = {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_MODE": "a", "APT_LISTCHANGES_FRONTEND": "none"}


def missing_packages(c, names):
    if shutil.which("dpkg-query"):
        have = {}  # name: version, or "" for one that is only provided
        form = "${db:Status-Status}\t${Package}\t${Architecture}\t${Version}\t${Provides}\n"
        for line in c.must("dpkg-query", ["dpkg-query", "-W", "-f", form]).splitlines():
            status, name, arch, version, provides = (line.split("\t") + [""] * 5)[:5]
            if status == "installed":
                have[name] = have[name + ":" + arch] = version
                for p in provides.split(","):
                    have.setdefault(p.split("(")[0].strip(), "")
        return [n for n in names if n.split("=")[0] not in have or "=" in n and have[n.split("=")[0]] != n.split("=")[1]]
    if shutil.which("rpm"):
        return [n for n in names if c.sh(["rpm", "-q", "--whatprovides", n])[0]]
    raise Problem("neither dpkg nor rpm is here")


def lists(c):
    """What apt knows of packages that are not installed."""
    return glob.glob(c.path("/var/lib/apt/lists/*_Packages*"))


# What apt says of a mirror to which nothing leads.
UNREACHED = ("Temporary failure resolving", "Could not resolve", "Could not connect", "Unable to connect", "Connection timed out",
             "Connection failed", "Network is unreachable", "No route to host")


def unreached(out):
    return any(u in out for u in UNREACHED)


def update(c):
    """Reads anew what packages there are; returns exit status and output. The router or name server by which the mirrors
    are found may be a machine of the lab that is booting just now: then this is tried again for a while. apt itself is not to
    try again: 2.6.1 waits for ever for what it means to try a little later, once all the rest has come."""
    end = time.monotonic() + (0 if c.root else 600 if c.report["run"] == "boot" else 60)
    while True:
        status, out = c.sh(APT + ["-o", "Acquire::Retries=0", "update"], COMMAND_DEADLINE, APT_ENV)
        if not unreached(out) or time.monotonic() > end:
            return status, out
        c.give_way()
        c.report["phase"] = "packages: no way to the mirrors yet"
        c.publish()
        time.sleep(5)


# What apt says of a package that it does not know at all.
UNKNOWN = ("Unable to locate package ", "has no installation candidate", "was not found", "Couldn't find any package by")


def unknown_packages(c, names):
    """Those that apt knows nothing of, with its words; it is asked one by one only if it does not take all."""
    found = {}
    if c.sh(APT + ["-s", "install"] + names, COMMAND_DEADLINE, APT_ENV)[0]:
        for n in names:
            status, out = c.sh(APT + ["-s", "install", n], COMMAND_DEADLINE, APT_ENV)
            words = [l for l in out.splitlines() if l.startswith("E: ") and any(u in l for u in UNKNOWN)]
            if status and words:
                found[n] = "\n".join(words)
    return found


def known(c, names):
    """Ends the run before anything is installed if there is no such package: its name is a mistake, or its source."""
    missing = missing_packages(c, names)
    if c.check or not missing or not shutil.which("apt-get"):
        return
    found = unknown_packages(c, missing) if lists(c) else {n: "" for n in missing}
    if not found:
        return
    status, out = update(c)  # whose status is 0 when nothing leads to a mirror
    unread = "exit status %d" % status if status else "no way to the mirrors" if unreached(out) else ""
    found = unknown_packages(c, missing)
    for n, words in found.items():
        text = "apt knows no such package" + (", and cannot read what there is: " + unread if unread else "")
        c.fail("package", "package " + n, text, out if unread else words)
    if found:
        raise Stop("unknown packages")


def install(c, names):
    """Returns exit status and output of installing names together."""
    if shutil.which("dnf"):
        return c.sh(["dnf", "-y", "install"] + names, COMMAND_DEADLINE)
    if not lists(c):
        update(c)
    status, out = c.sh(APT + ["install"] + names, COMMAND_DEADLINE, APT_ENV)
    for pause in (0, 10):
        if not status:
            break
        time.sleep(0 if c.root else pause)
        c.sh(["dpkg", "--configure", "-a"], COMMAND_DEADLINE, APT_ENV)  # a run that was killed in the middle
        update(c)
        status, out = c.sh(APT + ["install"] + names, COMMAND_DEADLINE, APT_ENV)
    return status, out


def packages(c, names):
    missing = missing_packages(c, names)
    if not missing or c.check:
        c.noted += ["%s is not installed" % n for n in missing]
        return
    status, out = install(c, missing)
    if status and len(missing) > 1:  # one bad name must not keep the others out
        for n in missing_packages(c, missing):
            status, out = install(c, [n])
            if status:
                c.fail("package", "package " + n, "cannot be installed: exit status %d" % status, out)
    elif status:
        raise Problem("%s cannot be installed: exit status %d" % (missing[0], status), out)
    c.noted += ["%s installed" % n for n in missing if n not in missing_packages(c, missing)]


# --- files

def touched(c, path, restart):
    """Remembers what a change of path asks for, before the change is made."""
    c.memory["restart"] = sorted(set(c.memory["restart"]) | {unit_name(u) for u in restart})
    again = {name for name, paths in c.onchange.items() if any(path == p or p.endswith("/") and path.startswith(p) for p in paths)}
    c.memory["again"] = sorted(set(c.memory["again"]) | again)
    if "/systemd/system/" in path or "/systemd/user/" in path:
        c.memory["reload"] = True
    c.remember()


def file(c, f):
    if f.get("from") and not f["from"].get("url"):
        brought(c, f)
        return
    path, mode, data, origin = f["path"], int(f["mode"], 8), f.get("text", "").encode(), f.get("from")
    uid, gid = ids(c, f["owner"], f["group"])
    why = []
    try:
        s = os.lstat(c.path(path))
        if not stat.S_ISREG(s.st_mode):
            why.append("is no file")
        elif c.read(path) != data if not origin else digest_of(c.path(path)) != origin["sha256"]:
            why.append("content")
        if stat.S_IMODE(s.st_mode) != mode:
            why.append("mode")
        if not c.root and (s.st_uid, s.st_gid) != (uid, gid):
            why.append("owner")
    except (FileNotFoundError, NotADirectoryError):
        why.append("is missing")
    if why and c.differs(", ".join(why)):
        c.make(path, lambda to: content(c, f, data, to), mode, uid, gid)
    c.memory["files"][path] = f.get("restart") or []


def content(c, f, data, to):
    """Writes what a file should be. What it asks for is remembered only once it is known to come."""
    origin = f.get("from")
    if origin and digest_of(c.path(f["path"])) == origin["sha256"]:  # only its mode or owner is wrong
        with open(c.path(f["path"]), "rb") as have:
            shutil.copyfileobj(have, to)
    elif origin:
        d = Download(to)
        fetch(c, origin["url"], d.take)
        if d.sum.hexdigest() != origin["sha256"]:
            raise Problem("%s is not what was asked for: its sha256 is %s, not %s" % (origin["url"], d.sum.hexdigest(), origin["sha256"]))
    else:
        to.write(data)
    c.memory["files"][f["path"]] = f.get("restart") or []
    touched(c, f["path"], f.get("restart") or [])


def old_file(c, path):
    """Removes a file that an earlier document had."""
    if os.path.lexists(c.path(path)) and c.differs("removed" if not c.check else "no longer in the lab"):
        touched(c, path, c.memory["files"][path])
        if carried_off(c, path):
            del c.memory["files"][path]
            return
        if path.startswith("/etc/systemd/system/") and path.count("/") == 4:
            c.sh(["systemctl", "disable", "--now", os.path.basename(path)])
        os.remove(c.path(path))
    del c.memory["files"][path]
