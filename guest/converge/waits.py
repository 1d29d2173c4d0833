# --- roles, and what they wait for


def roles(c, doc):
    """Units, then commands: of what waits for nobody, and then of each role that waits, once it need not any more."""
    waits = doc.get("waits") or []
    later = {unit_name(u) for w in waits for u in w.get("units") or []}, {n for w in waits for n in w.get("commands") or []}
    stage(c, [u for u in doc["units"] if unit_name(u["name"]) not in later[0]], [m for m in doc["commands"] if m["name"] not in later[1]],
          lambda name: name not in later[0])
    for w in waits:
        names = {unit_name(u) for u in w.get("units") or []}
        us = [u for u in doc["units"] if unit_name(u["name"]) in names]
        cs = [m for m in doc["commands"] if m["name"] in (w.get("commands") or [])]
        if awaited(c, w, us, cs):
            stage(c, us, cs, lambda name: name in names)
        else:
            c.report["done"] += len(us) + len(cs)


def stage(c, us, cs, ours):
    units(c, us, ours)
    for cmd in cs:
        c.item("command", cmd["name"], command, c, cmd)


def awaited(c, w, us, cs):
    """Waits until all holds that the role waits for, if there is anything to do for it then. Returns whether it does."""
    if c.check or not w.get("for") or not todo(c, us, cs):
        c.report["done"] += len(w.get("for") or [])
        return True
    before = len(c.report["errors"])
    for a in w["for"]:
        c.item("wait", "", wait, c, w["role"], a)
        if len(c.report["errors"]) > before:
            return False
    return True


def todo(c, us, cs):
    """Says whether any of the units and commands is not as it should be; changes nothing."""
    noted, c.noted, c.check = c.noted, [], True
    try:
        for u in us:
            unit(c, u)
        for cmd in cs:
            command(c, cmd)
        return bool(c.noted)
    except Problem:
        return True
    finally:
        c.noted, c.check = noted, False


def wait(c, role, a):
    text = "%s waits for %s: %s" % (role, a["name"], whom(a))

    def again(got):
        c.give_way()
        c.report["phase"] = text
        c.publish()

    again("")
    ok, got, _ = holds(a["kind"], a["check"], a["within"], again)
    if not ok:
        raise Problem("%s; given up after %g seconds: %s" % (text, a["within"], got))


def whom(a):
    """What is asked, in a few words."""
    k, q = a["kind"], a["check"]
    if k == "http":
        return "http " + q["url"]
    if k == "dns":
        return "dns %s %s" % (q["type"], q["name"])
    if k == "command":
        return "command"
    to = q["to"]
    try:
        to = socket.getaddrinfo(to, q["port"], type=socket.SOCK_STREAM)[0][4][0]
    except OSError:
        pass
    return "tcp %s:%d" % ("[%s]" % to if ":" in to else to, q["port"])
