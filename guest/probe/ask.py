# --- asking


class Try:
    """One question under way. Its socket is connected, so it hears nobody but the machine it asked."""

    def __init__(self, asker, q):
        self.asker, self.q = asker, q
        self.word = asker.token + b"-%d" % q["id"]
        self.began = time.monotonic()
        self.end = self.began + q["wait"] if q["wait"] else self.began + asker.patience
        self.socket, self.source = None, ""
        self.connected = False

    def watch(self, events):
        self.asker.watch(self, events)

    def connect(self, kind, proto=0):
        q = self.q
        self.socket = socket.socket(family_of(q["dst"]), kind, proto)
        self.socket.setblocking(False)
        number = self.socket.connect_ex((q["dst"], q["port"] if kind != socket.SOCK_RAW else 0))
        if number and number != errno.EINPROGRESS:
            raise OSError(number, "connect")
        self.source = self.socket.getsockname()[0]

    def done(self, state, detail="", by=""):
        self.asker.done(self, state, detail, by)

    def again(self):
        """Called once a second: what may have been lost is sent again. TCP does that itself."""

    def late(self):
        self.done("silent", "no answer in %.3g s" % (self.end - self.began))


class TCP(Try):
    def start(self):
        self.connect(socket.SOCK_STREAM)
        self.watch(selectors.EVENT_WRITE)

    def ready(self):
        if not self.connected:
            number = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if number:
                raise OSError(number, "connect")
            self.connected = True
            if self.q["how"] == "connect":
                return self.done("open", "connected")
            self.socket.send(self.word + b"\n")
            return self.watch(selectors.EVENT_READ)
        try:
            heard = self.socket.recv(256).split()
        except OSError:
            heard = []
        if heard[:1] == [self.word] and len(heard) == 2:
            return self.done("open", "answered", heard[1].decode())
        self.done("open", "connected, but nobody of labctl answered")

    def late(self):
        if self.connected:
            return self.done("open", "connected, but nobody answered")
        super().late()


class UDP(Try):
    def start(self):
        self.connect(socket.SOCK_DGRAM)
        self.watch(selectors.EVENT_READ)
        self.again()

    def again(self):
        self.socket.send(self.word)

    def ready(self):
        heard = self.socket.recv(256).split()
        if heard[:1] == [self.word] and len(heard) == 2:
            self.done("open", "answered", heard[1].decode())


class DNS(UDP):
    """A name server holds the port: it is asked for its version (class CHAOS), which it answers by itself."""

    def again(self):
        number = self.q["id"] & 0xFFFF
        self.socket.send(struct.pack("!6H", number, 0, 1, 0, 0, 0) + b"\7version\4bind\0" + struct.pack("!2H", 16, 3))

    def ready(self):
        heard = self.socket.recv(2048)
        if len(heard) >= 12 and heard[:2] == struct.pack("!H", self.q["id"] & 0xFFFF) and heard[2] & 0x80:
            self.done("open", "the name server answered")


class NTP(UDP):
    """A time server holds the port. It need not answer us, so silence says nothing."""

    def again(self):
        self.socket.send(b"\x23" + b"\0" * 39 + os.urandom(8))

    def ready(self):
        if len(self.socket.recv(2048)) >= 48:
            self.done("open", "the time server answered")

    def late(self):
        self.done("unsure", "a time server holds the port and did not answer, which it need not")


class Ping(Try):
    def start(self):
        # Of a number that was used a moment ago, connection tracking would say that it is an open connection.
        self.number = random.getrandbits(16)
        self.six = family_of(self.q["dst"]) == socket.AF_INET6
        self.connect(socket.SOCK_RAW, socket.IPPROTO_ICMPV6 if self.six else socket.IPPROTO_ICMP)
        self.watch(selectors.EVENT_READ)
        self.again()

    def again(self):
        packet = struct.pack("!BBHHH", 128 if self.six else 8, 0, 0, self.number, 1) + self.word
        if not self.six:  # of ICMPv6 the kernel does it
            total = sum(struct.unpack("!%dH" % ((len(packet) + 1) // 2), packet + b"\0" * (len(packet) % 2)))
            total = (total & 0xFFFF) + (total >> 16)
            total += total >> 16
            packet = packet[:2] + struct.pack("!H", ~total & 0xFFFF) + packet[4:]
        self.socket.send(packet)

    def ready(self):
        heard = self.socket.recv(2048)
        if not self.six:
            heard = heard[(heard[0] & 15) * 4:]
        if heard[:1] == (b"\x81" if self.six else b"\0") and heard[8:] == self.word:
            self.done("open", "answered")


HOW = {"echo": {"tcp": TCP, "udp": UDP}, "connect": {"tcp": TCP}, "dns": {"udp": DNS}, "ntp": {"udp": NTP}}

REFUSED = (errno.ECONNREFUSED, errno.ECONNRESET)
# What the network says, this machine's own included. Other errors are the program's, and say nothing.
FAILED = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.ETIMEDOUT, errno.EACCES,
          errno.EPERM, errno.EPROTO, errno.ENOPROTOOPT, errno.EADDRNOTAVAIL)


class Asker:
    """Many questions at once, but never more than parallel."""

    def __init__(self, request):
        self.token, self.parallel = request["token"].encode(), request["parallel"]
        self.questions = request["questions"]
        self.loop = selectors.DefaultSelector()
        self.answers, self.running, self.timers = [], 0, []
        self.number = itertools.count()
        self.patience, self.slowest = 3.0, None

    def run(self):
        # First what should be answered: how long that takes says how long the silence of the others must last. It is
        # never shorter than one lost packet of TCP, which is sent again after a second.
        self.ask([q for q in self.questions if q["wait"]])
        if self.slowest is not None:
            self.patience = min(1.5 + 4 * self.slowest, 6.0)
        self.ask([q for q in self.questions if not q["wait"]])
        return {"answers": self.answers, "slowest": self.slowest or 0}

    def ask(self, questions):
        waiting = iter(questions)
        more = True
        while more or self.running:
            while more and self.running < self.parallel:
                q = next(waiting, None)
                if q is None:
                    more = False
                else:
                    self.begin(q)
            now = time.monotonic()
            pause = max(0.0, self.timers[0][0] - now) if self.timers else 0.0
            for key, _ in self.loop.select(pause) if self.running else []:
                if key.data.socket is not None:
                    self.guard(key.data, key.data.ready)
            now = time.monotonic()
            while self.timers and self.timers[0][0] <= now:
                t = heapq.heappop(self.timers)[2]
                if t.socket is None:
                    continue
                if now >= t.end:
                    t.late()
                else:
                    self.guard(t, t.again)
                    if t.socket is not None:
                        self.remind(t)

    def begin(self, q):
        kind = Ping if q["proto"] == "icmp" else HOW[q["how"]][q["proto"]]
        t = kind(self, q)
        self.running += 1
        self.guard(t, t.start)
        if t.socket is not None:
            self.remind(t)

    def remind(self, t):
        heapq.heappush(self.timers, (min(t.end, time.monotonic() + 1), next(self.number), t))

    def guard(self, t, do):
        try:
            do()
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as e:
            state = "refused" if e.errno in REFUSED else "failed" if e.errno in FAILED else "broken"
            self.done(t, state, reason(e.errno) or str(e))

    def watch(self, t, events):
        try:
            self.loop.modify(t.socket, events, t)
        except KeyError:
            self.loop.register(t.socket, events, t)

    def done(self, t, state, detail, by=""):
        if t.socket is not None:
            try:
                self.loop.unregister(t.socket)
            except KeyError:
                pass
            t.socket.close()
            t.socket = None
        self.running -= 1
        took = time.monotonic() - t.began
        if state == "open" and detail == "answered":
            self.slowest = max(self.slowest or 0, took)
        self.answers.append({"id": t.q["id"], "state": state, "detail": detail, "by": by, "source": t.source})


def ask(request):
    say(Asker(request).run())
