# --- the checks that a lab declares. Each returns whether it holds, and what it found.


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def reason(number):
    return os.strerror(number).lower() if number else ""


def check_tcp(c, left):
    found = []
    for family, kind, proto, _, address in socket.getaddrinfo(c["to"], c["port"], type=socket.SOCK_STREAM):
        with socket.socket(family, kind, proto) as s:
            s.settimeout(max(0.5, min(5, left)))
            try:
                s.connect(address)
                return not c.get("refused", False), "%s accepts connections" % address[0]
            except OSError as e:
                found.append("%s: %s" % (address[0], "no answer" if isinstance(e, socket.timeout) else reason(e.errno) or e))
    return c.get("refused", False), "; ".join(found)


def check_http(c, left):
    u = urllib.parse.urlsplit(c["url"])
    kind = http.client.HTTPSConnection if u.scheme == "https" else http.client.HTTPConnection
    h = kind(u.hostname, u.port, timeout=max(0.5, min(10, left)))
    try:
        h.request("GET", (u.path or "/") + ("?" + u.query if u.query else ""), headers={"User-Agent": "labctl", "Connection": "close"})
        answer = h.getresponse()
        body = answer.read(1 << 20).decode("utf-8", "replace")
    finally:
        h.close()
    got = "status %d" % answer.status
    if answer.getheader("Location"):
        got += " to " + answer.getheader("Location")
    if answer.status != c["status"]:
        return False, got + ", body " + json.dumps(body[:200], ensure_ascii=False)
    want = c.get("body", "")
    if want and want not in body:
        return False, got + ", but the body has not %s: %s" % (json.dumps(want, ensure_ascii=False), json.dumps(body[:200], ensure_ascii=False))
    return True, got


TYPES = {"A": 1, "NS": 2, "CNAME": 5, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33}  # IANA's registry
CODES = {1: "format error", 2: "server failure", 4: "not implemented", 5: "refused"}


def check_dns(c, left):
    name = c["name"].rstrip(".")
    if c["type"] == "PTR":
        try:
            name = ipaddress.ip_address(name).reverse_pointer
        except ValueError:
            pass  # a name in the reverse zone
    servers, search = resolvers()
    if c.get("server"):
        servers = [a[4][0] for a in socket.getaddrinfo(c["server"], 53, type=socket.SOCK_DGRAM)]
    names = [name] if "." in name or not search else [name + "." + s for s in search]
    want = sorted(canonical(a, c["type"]) for a in c["answer"] or [])
    errors, got = [], None
    for server in servers:
        for n in names:
            try:
                got = sorted(set(resolve(server, n, TYPES[c["type"]], max(0.5, min(5, left)))))
            except (OSError, ValueError) as e:
                errors.append("%s: %s" % (server, "no answer" if isinstance(e, socket.timeout) else e))
                break
            if got:
                break
        if got is not None:
            break
    if got is None:
        return False, "; ".join(errors) or "this machine has no name server"
    return got == want, "answer " + json.dumps(got) if got else "no such name"


def canonical(text, kind):
    """Answers compare as they mean the same: names without regard to case or a last dot, addresses in their short form."""
    if kind in ("A", "AAAA"):
        try:
            return str(ipaddress.ip_address(text))
        except ValueError:
            return text
    return text if kind == "TXT" else " ".join(w.rstrip(".").lower() for w in text.split())


def resolvers():
    servers, search = [], []
    try:
        with open("/etc/resolv.conf") as f:
            for words in (line.split() for line in f):
                if words[:1] == ["nameserver"] and len(words) > 1:
                    servers.append(words[1])
                elif words[:1] in (["search"], ["domain"]):
                    search = words[1:]
    except OSError:
        pass
    return servers, search


def resolve(server, name, kind, timeout):
    """The records of one kind, by RFC 1035; by TCP where they do not fit into a datagram."""
    number = random.randrange(1 << 16)
    labels = name.encode("idna").split(b".") if name else []
    question = b"".join(bytes([len(l)]) + l for l in labels) + b"\0" + struct.pack("!2H", kind, 1)
    packet = struct.pack("!6H", number, 0x0100, 1, 0, 0, 0) + question
    family = family_of(server)
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.settimeout(timeout)
        s.connect((server, 53))
        s.send(packet)
        answer = s.recv(65535)
        while answer[:2] != packet[:2]:
            answer = s.recv(65535)
    if answer[2] & 2:
        with socket.socket(family, socket.SOCK_STREAM) as s:
            s.settimeout(timeout)
            s.connect((server, 53))
            s.sendall(struct.pack("!H", len(packet)) + packet)
            f = s.makefile("rb")
            answer = f.read(struct.unpack("!H", f.read(2))[0])
    code = answer[3] & 15
    if code == 3:
        return []
    if code:
        raise ValueError(CODES.get(code, "error %d" % code))
    try:
        return list(records(answer, kind))
    except (IndexError, struct.error):
        raise ValueError("an answer that cannot be read")


def records(answer, kind):
    questions, count = struct.unpack_from("!2H", answer, 4)
    at = 12
    for _ in range(questions):
        at = read_name(answer, at)[1] + 4
    for _ in range(count):
        at = read_name(answer, at)[1]
        found, _, _, length = struct.unpack_from("!HHIH", answer, at)
        at += 10
        if found == kind:
            yield record(answer, at, length, kind)
        at += length


def record(answer, at, length, kind):
    data = answer[at:at + length]
    if kind in (1, 28):
        return str(ipaddress.ip_address(data))
    if kind == 16:
        out = b""
        while data:
            out, data = out + data[1:1 + data[0]], data[1 + data[0]:]
        return out.decode("utf-8", "replace")
    numbers = {15: 1, 33: 3}.get(kind, 0)
    words = [str(n) for n in struct.unpack_from("!%dH" % numbers, answer, at)]
    return " ".join(words + [read_name(answer, at + 2 * numbers)[0].lower()])


def read_name(answer, at):
    """The name at a place, and where what follows it begins. Pointers may not lead round in a ring."""
    labels, end = [], None
    for _ in range(128):
        n = answer[at]
        if n >= 192:
            end = end or at + 2
            at = struct.unpack_from("!H", answer, at)[0] & 0x3FFF
        elif n:
            labels.append(answer[at + 1:at + 1 + n].decode("ascii", "replace"))
            at += 1 + n
        else:
            return ".".join(labels), end or at + 1
    raise ValueError("an answer whose names never end")


def check_command(c, left):
    try:
        p = subprocess.run(["/bin/sh", "-c", c["run"]], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=left)
    except subprocess.TimeoutExpired:
        return False, "it did not end in time"
    status = p.returncode if p.returncode >= 0 else 128 - p.returncode
    out, err = p.stdout.decode("utf-8", "replace"), p.stderr.decode("utf-8", "replace").strip()
    got = "exit status %d" % status
    want = c.get("output", "")
    if status == c["exit"] and want in out:
        return True, got
    if want and want not in out:
        got += ", output " + json.dumps(out[-400:], ensure_ascii=False)
    if err:
        got += ", stderr " + json.dumps(err[-400:], ensure_ascii=False)
    return False, got


CHECKS = {"tcp": check_tcp, "http": check_http, "dns": check_dns, "command": check_command}


def holds(kind, c, within, again=lambda got: None):
    """Asks until it holds, at most within seconds; at least once. Returns whether it holds, what was found, and the tries.
    again is told between two tries."""
    tries, pause, end = 0, 0.2, time.monotonic() + within
    while True:
        tries += 1
        try:
            # A first try may have its full time even where within is short.
            ok, got = CHECKS[kind](c, max(end - time.monotonic(), 1.0))
        except (OSError, ValueError, http.client.HTTPException, UnicodeError) as e:
            ok, got = False, str(e) or type(e).__name__
        if ok or time.monotonic() + pause >= end:
            return ok, got, tries
        again(got)
        time.sleep(pause)
        pause = min(pause * 1.5, 3)
