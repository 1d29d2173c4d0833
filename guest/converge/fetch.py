# --- what the machine fetches

TRIES, SILENCE, CHUNK = 6, 60, 1 << 20  # SILENCE: seconds without a byte


def fetch(c, url, take):
    """Hands what url serves to take, part by part; take(None) begins anew. The certificate of a server is not asked for:
    every caller knows by a digest or fingerprint what must come."""
    secure = ssl.create_default_context()
    secure.check_hostname, secure.verify_mode = False, ssl.CERT_NONE
    end = time.monotonic() + COMMAND_DEADLINE
    for left in range(TRIES - 1, -1, -1):
        take(None)
        try:
            ask = urllib.request.Request(url, headers={"User-Agent": "labctl"})
            with urllib.request.urlopen(ask, timeout=SILENCE, context=secure) as answer:
                while True:
                    part = answer.read(CHUNK)
                    if not part and answer.length:  # read() does not say so
                        raise OSError("the connection ended in the middle")
                    if not part:
                        return
                    take(part)
                    if time.monotonic() > end:
                        raise Problem("cannot fetch %s: not done after %d seconds" % (url, COMMAND_DEADLINE))
        except (OSError, http.client.HTTPException) as e:  # URLError and all of the network's are OSErrors
            why = getattr(e, "reason", None) or e
            code = getattr(e, "code", 0)  # of an HTTPError
            if not left or code in (400, 401, 403, 404, 410):
                raise Problem("cannot fetch %s: %s" % (url, "the server says %d %s" % (code, why) if code else why))
        time.sleep(0 if c.root else 2 ** (TRIES - left))  # a minute in all: the way may lead over a router that is booting


class Download:
    """Writes what is fetched into f, and knows its digest."""

    def __init__(self, f):
        self.f, self.sum = f, hashlib.sha256()

    def take(self, part):
        if part is None:
            self.f.seek(0)
            self.f.truncate()
            self.sum = hashlib.sha256()
        else:
            self.f.write(part)
            self.sum.update(part)


def digest_of(full):
    """The sha256 of a file, however large; "" if there is none."""
    sum = hashlib.sha256()
    try:
        with open(full, "rb") as f:
            for part in iter(lambda: f.read(CHUNK), b""):
                sum.update(part)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    return sum.hexdigest()
