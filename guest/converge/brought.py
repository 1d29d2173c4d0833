# --- what labctl brings into the machine, over its own way in


class Awaited(Problem):
    """Something that labctl has not brought yet."""


def note_of(c, path):
    """What labctl has noted about what it brought as path; None if there is no such note."""
    name = hashlib.sha256(path.encode()).hexdigest()[:16]
    try:
        return json.loads(c.read("/var/lib/labctl/delivered/%s.json" % name) or b"null")
    except ValueError:  # a machine that lost power in the middle of a write
        return None


def changed_items(c, note):
    """Those of its files that are not as they were brought."""
    out = []
    for i in note["items"]:
        try:
            s = os.lstat(c.path(i["path"]))
            if not stat.S_ISREG(s.st_mode) or (s.st_size, int(s.st_mtime)) != (i["length"], i["time"]):
                out.append(i["path"])
        except (FileNotFoundError, NotADirectoryError):
            out.append(i["path"])
    return out


def brought(c, f):
    """A file, or a folder, that labctl brings: it is looked at, its modes are seen to, and that it is another one is told
    to what depends on it."""
    path, mode = f["path"], int(f["mode"], 8)
    uid, gid = ids(c, f["owner"], f["group"])
    note = note_of(c, path)
    why = "is missing" if not note else "is not what it should be" if note["id"] != f["from"].get("id", "") else "content" if changed_items(c, note) else ""
    if why:
        if not c.differs(why):
            return
        raise Awaited("labctl has not brought it yet: apply does that")
    for i in note["items"]:
        s = os.lstat(c.path(i["path"]))
        if (stat.S_IMODE(s.st_mode) != mode or not c.root and (s.st_uid, s.st_gid) != (uid, gid)) and c.differs("mode or owner"):
            os.chmod(c.path(i["path"]), mode)
            if not c.root:
                os.chown(c.path(i["path"]), uid, gid)
    have = hashlib.sha256(json.dumps(note["items"], sort_keys=True).encode()).hexdigest()
    if c.memory["brought"].get(path) != have and c.differs("brought"):
        touched(c, path, f.get("restart") or [])
        c.memory["brought"][path] = have
    c.memory["files"][path] = f.get("restart") or []


def carried_off(c, path):
    """Removes what labctl brought for an earlier document; whether it was that."""
    note = note_of(c, path)
    if not note or path not in c.memory["brought"]:
        return False
    for i in note["items"]:
        if os.path.lexists(c.path(i["path"])):
            os.remove(c.path(i["path"]))
    if os.path.isdir(c.path(path)) and not os.listdir(c.path(path)):
        os.rmdir(c.path(path))
    os.remove(c.path("/var/lib/labctl/delivered/%s.json" % hashlib.sha256(path.encode()).hexdigest()[:16]))
    del c.memory["brought"][path]
    return True
