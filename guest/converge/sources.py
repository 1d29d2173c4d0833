# --- sources of packages

SOURCE, KEYRING = "/etc/apt/sources.list.d/%s.sources", "/etc/apt/keyrings/%s.gpg"
PUBLIC = "-----BEGIN PGP PUBLIC KEY BLOCK-----", "-----END PGP PUBLIC KEY BLOCK-----"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


def source_text(s):
    t = ["# written by labctl", "Types: deb", "URIs: " + s["url"], "Suites: " + " ".join(s["suites"])]
    t += ["Components: " + " ".join(s["components"])] if s.get("components") else []
    return ("\n".join(t + ["Architectures: " + " ".join(s["arches"]), "Signed-By: " + KEYRING % s["name"]]) + "\n").encode()


def unarmor(data):
    """The binary form of a key: armored (RFC 4880, 6.2), base64, or binary already."""
    if data[:1] >= b"\x80":
        return data
    text = data.decode("ascii", "replace").replace("\r", "")
    if PUBLIC[0] in text:
        if PUBLIC[1] not in text:
            raise Problem("the key's armor has no end")
        text = text.split(PUBLIC[0], 1)[1].split(PUBLIC[1], 1)[0]
        text = text.split("\n\n", 1)[-1].rsplit("\n=", 1)[0]  # neither the armor's headers nor its checksum
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        raise Problem("what came is neither an armored OpenPGP key nor a binary one", text[:200])


def openpgp_packets(data):
    """Each packet's tag, body and whole bytes (RFC 4880, 4.2)."""
    at = 0
    while at < len(data):
        head, new = data[at], data[at] & 0x40
        try:
            if not head & 0x80:
                raise IndexError
            if not new:
                width = 1 << (head & 3)
                start, size = at + 1 + width, int.from_bytes(data[at + 1:at + 1 + width], "big")
                if width == 8:
                    raise IndexError
            elif data[at + 1] < 192:
                start, size = at + 2, data[at + 1]
            elif data[at + 1] < 224:
                start, size = at + 3, (data[at + 1] - 192 << 8) + data[at + 2] + 192
            elif data[at + 1] == 255:
                start, size = at + 6, int.from_bytes(data[at + 2:at + 6], "big")
            else:
                raise IndexError
            if start + size > len(data):
                raise IndexError
        except IndexError:
            raise Problem("what came is no OpenPGP key")
        yield head & 0x3F if new else head >> 2 & 0x0F, data[start:start + size], data[at:start + size]
        at = start + size


def public_keys(data):
    """Each key of version 4 as its fingerprint and its packets: itself, users, signatures and subkeys."""
    keys, current = {}, None
    for tag, body, whole in openpgp_packets(unarmor(data)):
        if tag in (5, 7):
            raise Problem("what came is a secret key")
        if tag == 6:
            current = None
            if body[:1] == b"\x04":
                current = hashlib.sha1(b"\x99" + len(body).to_bytes(2, "big") + body).hexdigest().upper()
        if current:
            keys[current] = keys.get(current, b"") + whole
    return keys


def source_key(c, key):
    """The binary key that has the fingerprint, and no other that comes with it."""
    data = (key.get("text") or "").encode()
    if key.get("url"):
        buffer = io.BytesIO()
        fetch(c, key["url"], Download(buffer).take)
        data = buffer.getvalue()
    keys = public_keys(data)
    if key["fingerprint"] not in keys:
        found = " and ".join(sorted(keys)) or "no key of OpenPGP version 4"
        raise Problem("its key is not the one that is trusted: %s, not %s" % (found, key["fingerprint"]))
    return keys[key["fingerprint"]]


# What apt says when nobody answers, which may be a router on the way that is booting.
SILENT = ("Could not connect", "Unable to connect", "Connection failed", "Could not resolve", "Temporary failure resolving", "Connection timed out")
SOURCE_WAIT = 60  # seconds


def read_source(c, path):
    """Lets apt read one source and leave what it knows of the others."""
    only = ["-o", "Dir::Etc::sourcelist=" + c.path(path), "-o", "Dir::Etc::sourceparts=-", "-o", "APT::Get::List-Cleanup=0",
            "-o", "APT::Update::Error-Mode=any", "-o", "Acquire::Retries=0", "update"]
    end = time.monotonic() + SOURCE_WAIT
    while True:
        status, out = c.sh(APT + only, COMMAND_DEADLINE, APT_ENV)
        if not status:
            return
        if time.monotonic() > end or not any(w in out for w in SILENT):
            raise Problem("apt cannot read it: exit status %d" % status, out)
        c.give_way()
        time.sleep(3)


def source(c, s):
    ring, path, text = KEYRING % s["name"], SOURCE % s["name"], source_text(s)
    asked = hashlib.sha256(json.dumps(s["key"], sort_keys=True).encode()).hexdigest()
    old = c.memory["sources"].get(s["name"], {})
    known = old.get("asked") == asked and digest_of(c.path(ring)) == old.get("key")
    same = c.read(path) == text
    why = "" if same else "is missing" if c.read(path) is None else "content"
    why = why or ("" if known else "key") or ("" if old.get("read") else "its packages are not known yet")
    if not why or not c.differs(why):
        return
    if not shutil.which("apt-get"):
        raise Problem("apt is not here: sources are for Debian and what comes from it")
    key = c.read(ring) if known else source_key(c, s["key"])
    kept = old.get("kept", False)
    if not old and c.read(path) is not None and not same:  # the image's own; apt does not read *.orig
        os.replace(c.path(path), c.path(path) + ".orig")
        kept = True
    c.memory["sources"][s["name"]] = {"asked": asked, "key": hashlib.sha256(key).hexdigest(), "kept": kept, "read": False}
    c.remember()
    c.write(ring, key)
    c.write(path, text)
    if not lists(c):
        update(c)
    read_source(c, path)
    c.memory["sources"][s["name"]]["read"] = True
    c.remember()


def old_source(c, name):
    """Removes a source that an earlier document had; what was there before it comes back."""
    if not c.differs("removed" if not c.check else "no longer in the lab"):
        return
    for p in (SOURCE % name, KEYRING % name):
        if os.path.lexists(c.path(p)):
            os.remove(c.path(p))
    if c.memory["sources"][name].get("kept") and os.path.exists(c.path(SOURCE % name) + ".orig"):
        os.replace(c.path(SOURCE % name) + ".orig", c.path(SOURCE % name))
    del c.memory["sources"][name]
    c.remember()


def sources(c, want):
    names = {s["name"] for s in want}
    for name in [n for n in c.memory["sources"] if n not in names]:
        c.item("source", name, old_source, c, name)
    if any(s["url"].startswith("https:") for s in want) and not os.path.exists(c.path(CERTIFICATES)):
        c.item("packages", "", packages, c, ["ca-certificates"])
    for s in want:
        c.item("source", s["name"], source, c, s)
