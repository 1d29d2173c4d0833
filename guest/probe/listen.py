# --- listening: answers whoever asks with this run's word, until the connection to labctl ends


def place(proto, address, port):
    return {"proto": proto, "addr": address, "port": port}


class Listener:
    """Sockets on every asked port that nobody else holds, one for each address."""

    def __init__(self, request):
        self.name, self.token = request["name"], request["token"].encode()
        self.loop = selectors.DefaultSelector()
        self.guests = {}  # connections -> when they are ended
        self.report = {"listening": 0, "held": [], "failed": [], "leases": {}}
        self.end = time.monotonic() + request["lifetime"]
        addresses = list(request["addresses"])
        if request["leases"]:
            have = interfaces()
            for mac in request["leases"]:
                for a in have.get(mac, []):
                    if family_of(a) == socket.AF_INET:
                        self.report["leases"].setdefault(mac, a)
                        addresses.append(a)
        wanted = [(proto, address, port) for address in addresses for proto, port in request["ports"]]
        tentative = time.monotonic() + 4  # IPv6 addresses are, while the kernel looks for a second owner (RFC 4862)
        while wanted:
            failed = [(w, e) for w, e in ((w, self.bind(*w)) for w in wanted) if e]
            wanted = [w for w, e in failed if e == errno.EADDRNOTAVAIL and time.monotonic() < tentative]
            self.report["failed"] += [dict(place(*w), why=reason(e)) for w, e in failed if w not in wanted]
            if wanted:
                time.sleep(0.5)

    def bind(self, proto, address, port):
        """Listens there, or notes who else does; else the number of the error."""
        family = family_of(address)
        s = socket.socket(family, socket.SOCK_STREAM if proto == "tcp" else socket.SOCK_DGRAM)
        try:
            s.setblocking(False)
            if family == socket.AF_INET6:
                s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if proto == "tcp":  # past connections that have ended; of UDP it would take packets from others
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((address, port))
            if proto == "tcp":
                s.listen(256)
        except OSError as e:
            s.close()
            if e.errno != errno.EADDRINUSE:
                return e.errno
            self.report["held"].append(place(proto, address, port))
            return 0
        self.report["listening"] += 1
        self.loop.register(s, selectors.EVENT_READ, self.accept if proto == "tcp" else self.datagram)
        return 0

    def serve(self):
        """Until standard input ends, which it does with labctl or the connection, or the lifetime is over."""
        door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        door.bind("\0labctl-probe-" + self.token.decode())
        door.listen(4)
        door.setblocking(False)
        self.loop.register(door, selectors.EVENT_READ, self.tell)
        self.loop.register(0, selectors.EVENT_READ, None)
        while time.monotonic() < self.end:
            for key, _ in self.loop.select(1):
                if key.data is None:
                    if not os.read(0, 4096):
                        return
                    continue
                try:
                    key.data(key.fileobj)
                except OSError:
                    if key.data == self.hear:
                        self.drop(key.fileobj)
            now = time.monotonic()
            for c in [c for c, end in self.guests.items() if end < now]:
                self.drop(c)

    def tell(self, door):
        c, _ = door.accept()
        with c:
            c.setblocking(True)
            c.sendall(json.dumps(self.report).encode())

    def accept(self, s):
        c, _ = s.accept()
        c.setblocking(False)
        self.guests[c] = time.monotonic() + 20
        self.loop.register(c, selectors.EVENT_READ, self.hear)

    def hear(self, c):
        asked = c.recv(256)
        if asked.startswith(self.token):
            c.send(asked.strip() + b" " + self.name.encode() + b"\n")
        elif asked:
            return  # a stranger
        self.drop(c)

    def drop(self, c):
        self.guests.pop(c, None)
        self.loop.unregister(c)
        c.close()

    def datagram(self, s):
        asked, whom = s.recvfrom(256)
        if asked.startswith(self.token):
            s.sendto(asked.strip() + b" " + self.name.encode(), whom)


def listen(request):
    Listener(request).serve()


def report(request):
    """What the listener of this machine holds; it may still be starting."""
    end = time.monotonic() + request["patience"]
    while True:
        c = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            c.connect("\0labctl-probe-" + request["token"])
            break
        except OSError:
            c.close()
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
    text = b""
    while True:
        part = c.recv(65536)
        if not part:
            break
        text += part
    say(json.loads(text))
