def converge(c, doc):
    """All items in the order in which they are made true."""
    names = {f["path"] for f in doc["files"]}
    old = [p for p in c.memory["files"] if p not in names]
    leased = [] if c.check else [i for i in doc["network"] if i.get("leased")]
    c.onchange = {cmd["name"]: cmd["onchange"] for cmd in doc["commands"] if cmd.get("onchange")}
    c.memory["again"] = [name for name in c.memory["again"] if name in c.onchange]
    early = bool(shutil.which("nft")) or not doc.get("firewall")
    c.report["total"] = 6 + len(doc["network"]) + len(leased) + 2 * bool(doc["packages"]) + (not early) + sum(
        len(doc.get(k) or []) for k in ("sources", "data", "data", "users", "files", "units", "commands")) + sum(
        len(w.get("for") or []) for w in doc.get("waits") or []) + len(old) + ("/etc/resolv.conf" not in names)
    c.item("user", doc["user"]["name"], user, c, doc["user"])
    c.item("hostname", "", hostname, c, doc["hostname"])
    c.item("hosts", "", hosts, c, doc["hosts"])
    c.item("network", "", old_interfaces, c, doc["network"])
    for i in doc["network"]:
        c.item("network", i["name"], interface, c, i)
    c.item("sysctls", "", sysctls, c, doc.get("sysctls") or [])
    if early:
        c.item("firewall", "", filtering, c, doc)
    for i in leased:
        c.item("lease", i["name"], lease, c, i)
    if "/etc/resolv.conf" not in names:
        c.item("resolver", "", resolver, c, doc["network"])
    if not early:  # before anything is installed that listens
        c.item("packages", "", packages, c, ["nftables"])
        c.item("firewall", "", filtering, c, doc)
    sources(c, doc.get("sources") or [])
    if doc["packages"]:
        c.item("packages", "", known, c, doc["packages"])
    folders(c, doc.get("data") or [])
    if doc["packages"]:
        c.item("packages", "", packages, c, doc["packages"])
    accounts(c, doc.get("users") or [])
    for d in doc.get("data") or []:
        c.item("data", d["path"], data_owner, c, d)
    for p in old:
        c.item("file", p, old_file, c, p)
    for f in doc["files"]:
        c.item("file", f["path"], file, c, f)
    if c.waiting:  # nothing is started without: labctl brings it when the first boot has ended, and runs this again
        return
    roles(c, doc)


def lock(c, wait):
    """One run at a time; the kernel gives the lock back when its holder dies."""
    os.makedirs(c.path("/run/labctl"), mode=0o700, exist_ok=True)
    f = open(c.path("/run/labctl/lock"), "w")
    end = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return f
        except BlockingIOError:
            if time.monotonic() > end:
                raise Problem("another run holds %s since more than %d seconds" % (c.path("/run/labctl/lock"), wait))
            time.sleep(0.2)


def main(argv):
    options = {"--run": "hand", "--document": "", "--root": "", "--wait": "900"}
    check = False
    while argv:
        word = argv.pop(0)
        if word == "--check":
            check = True
        elif word in options and argv:
            options[word] = argv.pop(0)
        else:
            sys.exit("converge: unknown argument %s" % word)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the ssh connection may go with the network
    os.umask(0o022)
    os.environ.setdefault("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    c = Converger(options["--root"], check, options["--run"])
    try:
        held = lock(c, int(options["--wait"]))
        text = globals().get("DOCUMENT") or open(options["--document"] or c.path(DOCUMENT_PATH), "rb").read()
        doc = json.loads(text)
        if not check and not options["--document"]:
            c.document = text
        if doc.get("version") != VERSION:
            raise Problem("the document has version %s; this program reads %d" % (doc.get("version"), VERSION))
        c.report["digest"] = doc["digest"]
        c.load_memory()
        try:
            converge(c, doc)
        except Newer:
            c.report["superseded"] = True
        except Stop:
            pass  # the report has why
        c.remember()
        status = c.end()
        held.close()
        return status
    except (Problem, OSError, ValueError, KeyError) as e:
        c.fail("run", "run", str(e) or type(e).__name__)
        return c.end()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
