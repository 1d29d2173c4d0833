# --- accounts, beside labctl's own and those that packages make

HASH = re.compile(r"\$(1|2[abxy]|5|6|7|y|gy)\$[A-Za-z0-9./$=,]+$")  # crypt(5)


def crypted(word, setting):
    """What crypt(3) makes of a password as setting says it. Python has no such function of its own any more."""
    for name in ("libcrypt.so.1", "libcrypt.so.2"):
        try:
            f = ctypes.CDLL(name).crypt
            f.restype = ctypes.c_char_p
            return (f(word.encode(), setting.encode()) or b"").decode()
        except (OSError, AttributeError):
            continue
    raise Problem("cannot tell whether it has its password: there is no libcrypt here")


def shadow(c, name):
    """The fields of /etc/shadow: the password's hash is the second, the day on which the account ends the eighth."""
    for l in (c.read("/etc/shadow") or b"").decode().splitlines():
        if l.split(":")[0] == name:
            return l.split(":")
    raise Problem("has no line in /etc/shadow")


def account_there(name):
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def account(c, u):
    name, p = u["name"], account_there(u["name"])
    old = c.memory["users"].get(name, {})
    if not p:
        if not c.differs("does not exist"):
            return
        old = {"made": True}
        recall(c, name, old)
        add_account(c, u)
        p = pwd.getpwnam(name)
    if u.get("uid") and p.pw_uid != u["uid"]:
        raise Problem("is there already with the number %d, not %d" % (p.pw_uid, u["uid"]))
    if shadow(c, name)[7] and old.get("locked") and c.differs("is locked"):
        c.must("usermod", ["usermod", "-e", "", "-s", u.get("shell") or shell_of(u), name])
        p = pwd.getpwnam(name)
    for what, flag, have in (("home", "-d", p.pw_dir), ("shell", "-s", p.pw_shell)):
        if u.get(what) and have != u[what] and c.differs("%s is %s" % (what, have)):
            c.must("usermod", ["usermod", flag, u[what], name])
    memberships(c, u, old.get("groups") or [])
    password(c, u, old.get("password"))
    p = pwd.getpwnam(name)
    if u.get("home") and not os.path.isdir(p.pw_dir) and c.differs("home is missing"):
        os.makedirs(p.pw_dir)
        os.chown(p.pw_dir, p.pw_uid, p.pw_gid)
        os.chmod(p.pw_dir, 0o700)
    if u.get("authorized") or old.get("keys"):
        authorize(c, p.pw_dir, p.pw_uid, p.pw_gid, u.get("authorized") or [], old.get("keys") or [])
    recall(c, name, {"made": bool(old.get("made")), "groups": u.get("groups") or [], "keys": u.get("authorized") or [], "password": bool(u.get("value"))})


def recall(c, name, what):
    if not c.check:
        c.memory["users"][name] = what
        c.remember()


def shell_of(u):
    return "/usr/sbin/nologin" if u.get("system") else "/bin/bash"


def add_account(c, u):
    home = u.get("home") or ("" if u.get("system") else "/home/" + u["name"])
    argv = ["useradd", "-s", u.get("shell") or shell_of(u)] + (["-r"] if u.get("system") else [])
    argv += ["-m", "-d", home] if home else ["-M", "-d", "/nonexistent"]
    argv += ["-u", str(u["uid"])] if u.get("uid") else []
    try:
        grp.getgrnam(u["name"])
        argv += ["-g", u["name"]]
    except KeyError:
        argv += ["-U"]
    c.must("useradd", argv + [u["name"]])


def memberships(c, u, before):
    name, want = u["name"], u.get("groups") or []
    have = {g.gr_name for g in grp.getgrall() if name in g.gr_mem}
    for g in want:
        try:
            grp.getgrnam(g)
        except KeyError:
            raise Problem("there is no group " + g)
        if g not in have and c.differs("is not in group " + g):
            c.must("usermod", ["usermod", "-a", "-G", g, name])
    for g in sorted(set(before) - set(want)):
        if g in have and c.differs("is no longer in group " + g):
            c.must("gpasswd", ["gpasswd", "-d", name, g])


def password(c, u, before):
    name, value = u["name"], u.get("value")
    have = shadow(c, name)[1]
    if not value:
        if before and not have.startswith("!") and c.differs("has no password any more"):
            c.must("usermod", ["usermod", "-p", "!", name])
        return
    hashed = bool(HASH.match(value))
    same = have == value if hashed else not have.startswith(("!", "*")) and bool(have) and crypted(value, have) == have
    if not same and c.differs("password"):
        c.must("chpasswd", ["chpasswd"] + (["-e"] if hashed else []), input=("%s:%s\n" % (name, value)).encode())


def old_account(c, name):
    """Locks an account that the lab no longer has; one that labctl has not made only loses what it got."""
    old, p = c.memory["users"][name], account_there(name)
    if not p:
        return recall_not(c, name)
    if old.get("made") and shadow(c, name)[7] == "1":
        return  # locked, and kept in mind: it may come back
    if not c.differs("locked" if old.get("made") and not c.check else "no longer in the lab"):
        return
    if old.get("keys"):
        authorize(c, p.pw_dir, p.pw_uid, p.pw_gid, [], old["keys"])
        c.noted.remove("authorized keys")
    for g in old.get("groups") or []:
        c.sh(["gpasswd", "-d", name, g])
    if old.get("made"):
        c.must("usermod", ["usermod", "-L", "-e", "1", "-s", "/usr/sbin/nologin", name])
        return recall(c, name, {"made": True, "locked": True})
    if old.get("password"):
        c.must("usermod", ["usermod", "-p", "!", name])
    recall_not(c, name)


def recall_not(c, name):
    if not c.check:
        del c.memory["users"][name]
        c.remember()


def accounts(c, want):
    for name in sorted(set(c.memory["users"]) - {u["name"] for u in want}):
        c.item("user", name, old_account, c, name)
    for u in want:
        c.item("user", u["name"], account, c, u)
