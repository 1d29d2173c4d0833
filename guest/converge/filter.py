# --- kernel settings

SYSCTL_FILE = "/etc/sysctl.d/90-labctl.conf"


def sysctl_text(want):
    return ("# written by labctl\n" + "".join("%s = %s\n" % (s["key"], s["value"]) for s in want)).encode()


def sysctl_values(c, want):
    """Files below /proc/sys and what should be in them. A name in full counts for more than one with an asterisk."""
    values, full = {}, {s["key"] for s in want}
    for s in want:
        here = c.path("/proc/sys/" + s["key"].replace(".", "/"))
        found = sorted(glob.glob(here)) if "*" in here else [here]
        if "*" not in here and not os.path.exists(here):
            raise Problem("this kernel has no " + s["key"])
        for f in found:
            if sysctl_key(c, f) == s["key"] or sysctl_key(c, f) not in full:
                values[f] = s["value"]
    return values


def set_sysctls(c, want, kind):
    """Sets what differs and remembers what it was, for the day when it is not wanted any more."""
    values = sysctl_values(c, want)
    for f in [f for f in c.memory[kind] if f not in values]:
        if c.differs("no longer set: " + sysctl_key(c, f)):
            if os.path.exists(f):
                put(f, c.memory[kind][f])
            del c.memory[kind][f]
            c.remember()
    for f, value in values.items():
        with open(f) as now:
            have = now.read().strip()
        if have == value or not c.differs("%s is %s" % (sysctl_key(c, f), have)):
            continue
        c.memory[kind].setdefault(f, have)
        c.remember()
        put(f, value)


def sysctl_key(c, f):
    return f[len(c.path("/proc/sys/")):].replace("/", ".")


def put(f, value):
    with open(f, "w") as now:
        now.write(value + "\n")


def sysctls(c, want):
    have = c.read(SYSCTL_FILE)
    if want and have != sysctl_text(want) and c.differs(SYSCTL_FILE):
        c.write(SYSCTL_FILE, sysctl_text(want))
    elif not want and have is not None and c.differs("no longer in the lab: " + SYSCTL_FILE):
        os.remove(c.path(SYSCTL_FILE))
    set_sysctls(c, want, "sysctls")


# --- packet filter

RULES, FORWARDING, FIREWALL = "/etc/labctl/firewall.nft", "/etc/labctl/forwarding.conf", "labctl-firewall.service"
TABLE = ["inet", "labctl"]
LIST = ["nft", "-s", "list", "table"] + TABLE
MOST_LINES, LINE = 12, 240  # of differing rules that are told, and characters of each

# Rules first, then forwarding: a machine that cannot load the one does not get the other. Nothing is undone when it stops.
FIREWALL_UNIT = """# written by labctl
[Unit]
Description=labctl: this machine's packet filter
DefaultDependencies=no
Wants=network-pre.target
Before=network-pre.target shutdown.target
After=local-fs.target systemd-sysctl.service
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/nft -f %s
%s
[Install]
WantedBy=sysinit.target
"""


def ruleset_of(c, text):
    """The lines that nft lists for a ruleset which nobody has touched: it is loaded where there is no other one."""
    script = "nft -f - && exec " + " ".join(LIST)
    status, out = c.sh(["unshare", "-n", "sh", "-c", script], input=text.encode())
    if status:
        if not shutil.which("nft"):
            raise Problem("nft is not installed")
        raise Problem("nft refuses the ruleset: exit status %d" % status, out)
    return out.splitlines()


def live_ruleset(c):
    status, out = c.sh(LIST)
    return [] if status else out.splitlines()


def rule_differences(want, have):
    """One text for each rule that is missing or that nobody asked for, in order."""
    if not have:
        return ["the ruleset is not loaded"]
    texts, chains = [], {}
    for side, lines in (("want", want), ("have", have)):
        chain = ""
        for n, l in enumerate(lines):
            words = l.split()
            chain = words[1] if words[:1] == ["chain"] else "" if l == "\t}" else chain
            chains[side, n] = " in chain %s: " % chain if chain and words[:1] != ["chain"] else ": "
    for op, a, b, x, y in difflib.SequenceMatcher(None, want, have, autojunk=False).get_opcodes():
        if op != "equal":
            texts += ["missing" + chains["want", n] + want[n].strip()[:LINE] for n in range(a, b) if want[n].strip()]
            texts += ["not the lab's" + chains["have", n] + have[n].strip()[:LINE] for n in range(x, y) if have[n].strip()]
    if len(texts) > MOST_LINES:
        texts = texts[:MOST_LINES] + ["and %d more lines of the ruleset" % (len(texts) - MOST_LINES)]
    return texts


def firewall_files(want):
    command = "ExecStart=/usr/lib/systemd/systemd-sysctl %s\n" % FORWARDING if want["forwarding"] else ""
    files = {RULES: want["ruleset"].encode(), "/etc/systemd/system/" + FIREWALL: (FIREWALL_UNIT % (RULES, command)).encode()}
    files[FORWARDING] = sysctl_text(want["forwarding"]) if want["forwarding"] else None
    return files


def misnamed(c, network):
    """The interfaces that the rules name: by another name a machine would be shut off, or open."""
    for i in network:
        link = find_link(c, i["mac"]) if i.get("device") else None
        if link and link["ifname"] != i["device"]:
            raise Problem("not loaded, because the interface on %s is called %s, not %s" % (i["name"], link["ifname"], i["device"]))


def firewall(c, want, network):
    rules = ruleset_of(c, want["ruleset"])
    wrong = rule_differences(rules, live_ruleset(c))
    files = firewall_files(want)
    stale = [p for p in files if c.read(p) != files[p]]
    state = unit_state(c, FIREWALL)
    enabled = state.get("UnitFileState") == "enabled"
    for text in wrong or [p for p in stale if p == RULES]:
        c.differs(text)
    for text in [p for p in stale if p != RULES] + ([] if enabled or stale else [FIREWALL + " is not enabled"]):
        c.differs(text)
    if not c.check and (wrong or stale or not enabled):
        misnamed(c, network)
        for p in stale:
            if files[p] is None:
                os.remove(c.path(p))
            else:
                c.write(p, files[p])
        c.must("systemctl daemon-reload", ["systemctl", "daemon-reload"])
        systemctl(c, "enable", FIREWALL)
        systemctl(c, "restart", FIREWALL)  # one transaction of nft; connections stay as they are
        left = rule_differences(rules, live_ruleset(c))
        if left:
            raise Problem("the ruleset was loaded, but is not in force: " + left[0], "\n".join(left))
    set_sysctls(c, want["forwarding"], "forwarding")


def filtering(c, doc):
    if doc.get("firewall"):
        firewall(c, doc["firewall"], doc["network"])
    else:
        no_firewall(c)


def no_firewall(c):
    """Removes everything of a filter that the machine had before; first of all it stops to be a router."""
    files = [p for p in (RULES, FORWARDING, "/etc/systemd/system/" + FIREWALL) if c.read(p) is not None]
    if not files or not c.differs("no longer in the lab"):
        return
    if FORWARDING in files and not c.memory["forwarding"]:  # the memory was lost with the power
        for l in c.read(FORWARDING).decode().splitlines()[1:]:
            put(c.path("/proc/sys/" + l.split(" = ")[0].replace(".", "/")), "0")
    set_sysctls(c, [], "forwarding")
    c.sh(["systemctl", "disable", "--now", FIREWALL])
    c.sh(["nft", "delete", "table"] + TABLE)
    for p in files:
        os.remove(c.path(p))
    c.must("systemctl daemon-reload", ["systemctl", "daemon-reload"])
