# --- user, names

def ids(c, owner, group):
    """User and group ids; in a test's root nobody is looked up."""
    if c.root:
        return 0, 0
    try:
        uid = int(owner) if owner.isdigit() else pwd.getpwnam(owner).pw_uid
    except KeyError:
        raise Problem("no such user: " + owner)
    try:
        return uid, int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
    except KeyError:
        raise Problem("no such group: " + group)


def user(c, want):
    name = want["name"]
    home, uid, gid = "/home/" + name, 0, 0
    if not c.root:
        try:
            pwd.getpwnam(name)
        except KeyError:
            if not c.differs("does not exist"):
                return
            c.must("useradd", ["useradd", "-m", "-s", "/bin/bash", name])
        home, uid, gid = pwd.getpwnam(name).pw_dir, pwd.getpwnam(name).pw_uid, pwd.getpwnam(name).pw_gid
        sudo = "/etc/sudoers.d/90-labctl-" + name
        allowed = [l for f in glob.glob("/etc/sudoers.d/*") for l in open(f, errors="replace") if l.split()[:1] == [name]]
        if not allowed and c.differs("has no sudo"):
            c.write(sudo, (name + " ALL=(ALL) NOPASSWD:ALL\n").encode(), 0o440)
    authorize(c, home, uid, gid, want["authorized_keys"], c.memory["keys"])
    c.memory["keys"] = list(want["authorized_keys"])


def authorize(c, home, uid, gid, want, before):
    """Sees to the lines of authorized_keys that are the lab's, or were: before; others stay."""
    keys = home + "/.ssh/authorized_keys"
    have = (c.read(keys) or b"").decode(errors="replace").splitlines()
    gone = set(before) - set(want)
    lines = [l for l in have if l.strip() not in gone]
    lines += [k for k in want if k.strip() not in [l.strip() for l in lines]]
    if lines != have and c.differs("authorized keys"):
        new = not os.path.isdir(c.path(home + "/.ssh"))
        c.write(keys, ("\n".join(lines) + "\n").encode(), 0o600, uid, gid)
        if new:
            os.chmod(c.path(home + "/.ssh"), 0o700)
            if not c.root:
                os.chown(c.path(home + "/.ssh"), uid, gid)


def hostname(c, name):
    if (c.read("/etc/hostname") or b"").decode().strip() != name and c.differs("/etc/hostname"):
        c.write("/etc/hostname", (name + "\n").encode())
    if not c.root and socket.gethostname() != name and c.differs("is " + socket.gethostname()):
        socket.sethostname(name)


def hosts(c, want):
    block = [BEGIN] + [h["addr"] + " " + " ".join(h["names"]) for h in want] + [END]
    have = (c.read("/etc/hosts") or b"127.0.0.1 localhost\n::1 localhost ip6-localhost\n").decode().splitlines()
    lines, inside = [], False
    for l in have:
        if l in (BEGIN, END):
            inside = l == BEGIN
        elif not inside:
            lines.append(l)
    text = ("\n".join(lines + block) + "\n").encode()
    if text != c.read("/etc/hosts") and c.differs("the lab's block of /etc/hosts"):
        c.write("/etc/hosts", text)
