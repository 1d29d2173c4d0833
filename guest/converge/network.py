# --- network (systemd-networkd; cloud-init has configured the first boot by the same rules)

LEASE_WAIT = 300  # seconds; the router that gives addresses may be booting at the same time
NETWORKD = "/etc/systemd/network/05-labctl-%s.%s"


def network_file(i):
    return NETWORKD % (i["name"], "network")


def yes(b):
    return "yes" if b else "no"


def network_text(i):
    ra = i.get("ra")
    t = ["# written by labctl", "[Match]", "MACAddress=" + i["mac"], "Type=ether", "[Link]"]
    t += ["MTUBytes=%d" % i["mtu"]] if i["mtu"] else []
    t += ["RequiredForOnline=" + yes(i["default"]), "[Network]", "LinkLocalAddressing=ipv6",
          "DHCP=" + ("yes" if i["dhcp"] and ra and ra["dhcp"] else "ipv4" if i["dhcp"] else "ipv6" if ra and ra["dhcp"] else "no"),
          "IPv6PrivacyExtensions=no", "IPv6AcceptRA=" + yes(ra)]  # if it does, systemd waits 12 seconds for a router
    t += ["Address=" + a for a in i["addresses"]] + ["DNS=" + d for d in i["dns"]]
    if i["dhcp"]:
        t += ["[DHCPv4]", "ClientIdentifier=mac", "UseRoutes=" + yes(i["use_routes"]), "UseDNS=" + yes(i["use_dns"]), "UseMTU=no"]
    if ra:
        # By the MAC, so that a machine installed anew is the same to the server.
        t += ["[DHCPv6]", "DUIDType=link-layer", "UseDNS=" + yes(i["use_dns"])] if ra["dhcp"] else []
        t += ["[IPv6AcceptRA]", "Token=eui64", "UseAutonomousPrefix=" + yes(ra["address"]), "UseGateway=" + yes(ra["gateway"]),
              "UseDNS=" + yes(i["use_dns"]), "DHCPv6Client=" + yes(ra["dhcp"])]
    for r in i["routes"]:
        t += ["[Route]", "Destination=" + r["to"], "Gateway=" + r["via"]]
    return ("\n".join(t) + "\n").encode()


def cloud_macs(c, want):
    """On Compute Engine finds the MACs that the interfaces have there. It makes the MAC of the address, 42:01 and its
    four bytes, and gives no others: what is meant by labctl's own is found by the address, or as the only one left."""
    if (c.read("/sys/class/dmi/id/product_name") or b"").strip() != b"Google Compute Engine":
        return
    links = json.loads(c.must("ip addr", ["ip", "-j", "addr"]))
    there = {l.get("address", "").lower() for l in links}
    lost = [i for i in want if i["mac"] not in there]
    for i in lost:
        for a in i["addresses"]:
            if ":" not in a:
                mac = "42:01:" + ipaddress.ip_interface(a).ip.packed.hex(":")
                if mac in there:
                    i["mac"] = mac
    lost = [i for i in lost if i["mac"] not in there]
    free = sorted(m for m in there if m.startswith("42:01:") and m not in {i["mac"] for i in want})
    if len(lost) == 1 and len(free) == 1:
        lost[0]["mac"] = free[0]


def find_link(c, mac):
    found = [l for l in json.loads(c.must("ip addr", ["ip", "-j", "addr"])) if l.get("address", "").lower() == mac]
    found.sort(key=lambda l: not os.path.exists("/sys/class/net/%s/device" % l["ifname"]))
    return found[0] if found else None


def not_in_force(c, i, link, given=True):
    """What of i the kernel does not do; "" if all is in force. Addresses and routes that others added do not matter.
    Without given, what a router of the lab gives is left out."""
    if "NO-CARRIER" in link.get("flags", []):
        return ""  # nothing is in force without a cable
    infos = [a for a in link.get("addr_info", []) if a.get("scope") == "global"]
    have = {ipaddress.ip_interface("%s/%d" % (a["local"], a["prefixlen"])) for a in infos if not a.get("dynamic")}
    missing = [a for a in i["addresses"] if ipaddress.ip_interface(a) not in have]
    if missing:
        return "address %s is missing" % missing[0]
    if "UP" not in link.get("flags", []):
        return "is down"
    if i["mtu"] and link.get("mtu") != i["mtu"]:
        return "MTU is %s, not %d" % (link.get("mtu"), i["mtu"])
    lease = "" if i.get("leased") and not given else wrong_lease(i, infos)
    return lease or missing_route(c, i, link["ifname"], given)


def wrong_lease(i, infos):
    lease = [a["local"] for a in infos if a.get("dynamic") and a["family"] == "inet"]
    if i["dhcp"] != bool(lease):
        return "has an address by DHCP" if lease else NO_LEASE
    for want in i.get("leased", []):
        if ":" not in want and want not in lease:
            return "has %s by DHCP, not %s" % (lease[0], want)
        if ":" in want and ipaddress.ip_address(want) not in [ipaddress.ip_address(a["local"]) for a in infos]:
            return NO_LEASE6 + want
    return ""


LEASE_FILE = "/run/systemd/netif/leases/%d"  # what networkd was given for an interface
NOT_GIVEN = "networkd has got an address by DHCP and not given it to the interface"
NO_LEASE, NO_LEASE6 = "has no address by DHCP", "no router gave it the address "


def missing_route(c, i, device, given):
    have = {}
    # Over an address that is not there yet, written routes are not there either.
    written = i["routes"] if given or not i.get("leased") else []
    for r, learned in [(r, False) for r in written] + [(r, True) for r in i.get("learned", []) if given]:
        family = "-6" if ":" in r["to"] else "-4"
        if family not in have:
            have[family] = json.loads(c.must("ip route", ["ip", "-j", family, "route", "show"]) or "[]")
        to = ipaddress.ip_network(r["to"])
        dst = "default" if not to.prefixlen else str(to.network_address) if to.prefixlen == to.max_prefixlen else str(to)
        # What advertises itself as a router does so with its link-local address.
        if not any(h.get("dst") == dst and h.get("dev") == device and (h.get("gateway") == r["via"] or learned and family == "-6")
                   for h in have[family]):
            return "default route is missing" if dst == "default" else "route to %s is missing" % r["to"]
    return ""


def interface(c, i):
    link = find_link(c, i["mac"])
    if not link:
        raise Problem("no interface has the address " + i["mac"])
    file, text, before = network_file(i), network_text(i), c.memory["network"].get(i["mac"])
    renamed = name(c, i, link)
    have, why = c.read(file), not_in_force(c, i, link, False)
    if why and before is None and have is None and not c.check and not renamed and c.report["run"] == "boot":
        why = coming_up(c, i, why)
    why = why or not_in_force(c, i, find_link(c, i["mac"]) or {})
    if renamed:
        why = renamed
    elif have != text and before is not None and before != i:
        why = "configuration changed"
    elif have is not None and have != text:
        why = file
    elif i["dhcp"] and not i.get("leased") and have == text and why == NO_LEASE:
        # If nobody answers, asking again is networkd's job. What it does with an answer is looked after: see wait_in_force.
        why = NOT_GIVEN if os.path.exists(c.path(LEASE_FILE % link.get("ifindex", 0))) else ""
    if why and c.differs(why):
        status, out = c.sh(["systemctl", "is-active", "systemd-networkd"])
        if status:
            raise Problem("%s, and systemd-networkd does not run here to mend it" % why, out)
        # networkd is told once: wait_in_force says what may come of twice.
        if renamed:
            rename(c, link["ifname"], i["device"])  # it comes up again as it was
        if have != text:
            c.write(file, text)
            c.must("networkctl reload", ["networkctl", "reload"])  # begins anew with whose file has changed
        elif why == NOT_GIVEN:
            c.must("systemctl restart", ["systemctl", "restart", "systemd-networkd"])
        elif not renamed:
            c.must("networkctl reconfigure", ["networkctl", "reconfigure", link["ifname"]])
        wait_in_force(c, i)
    elif have is None and not c.check and os.path.isdir(c.path("/run/systemd/netif")):
        # cloud-init's own file also names the interface, and that name moves when a NIC comes before it at the next boot
        c.write(file, text)
    c.memory["network"][i["mac"]] = i
    c.remember()


def name(c, i, link):
    """Sees to it that the interface has its name from the next boot on; returns why it must be renamed now, or ""."""
    device = i.get("device")
    if not device:
        return ""  # the kernel's own name comes back with the next boot
    file = NETWORKD % (i["name"], "link")
    text = ("# written by labctl\n[Match]\nMACAddress=%s\nType=ether\n[Link]\nName=%s\n" % (i["mac"], device)).encode()
    if c.read(file) != text and (c.read(file) is None and link["ifname"] == device and not c.check and c.report["run"] == "boot"
                                 or c.differs("is not called %s at boot" % device)):
        c.write(file, text)
    return "is called %s, not %s" % (link["ifname"], device) if link["ifname"] != device else ""


def rename(c, old, new):
    """The interface is down for a moment: the kernel renames no other. Open connections outlive that."""
    for attempt in range(10):  # networkd may bring it up again in the middle
        status, out = c.sh(["ip", "link", "set", "dev", old, "down"])
        if not status:
            status, out = c.sh(["ip", "link", "set", "dev", old, "name", new])
        if not status:
            break
        time.sleep(0 if c.root else 0.3)
    else:
        c.sh(["ip", "link", "set", "dev", old, "up"])
        c.sh(["networkctl", "reconfigure", old])
        raise Problem("interface %s cannot be called %s" % (old, new), out)
    c.must("ip link set up", ["ip", "link", "set", "dev", new, "up"])
    c.sh(["udevadm", "settle", "--timeout=10"])  # networkd waits for udev to have seen the name


def coming_up(c, i, why):
    """Waits for a first boot's network, for which boot itself need not wait; then only what needs it does."""
    end = time.monotonic() + (30 if i["default"] or not i["dhcp"] else 3)
    while why and time.monotonic() < end and not c.root:
        time.sleep(0.3)
        why = not_in_force(c, i, find_link(c, i["mac"]) or {}, False)
    return why


def wait_in_force(c, i):
    """networkd begins again from nothing, once, if nothing comes of what it was told: 252 may get an address by DHCP, never
    give it to the interface, and then do so whatever it is told. Connections outlive that."""
    began, again = time.monotonic(), False
    most, patience = (4, 1) if c.root else (60, 15)  # seconds
    while True:
        why = not_in_force(c, i, find_link(c, i["mac"]) or {}, False)
        if not why or i["dhcp"] and not i["default"] and "DHCP" in why:
            return
        took = time.monotonic() - began
        if took > most:
            raise Problem("not in force %d seconds after networkd was told: %s" % (most, why))
        if took > patience and not again:
            c.sh(["systemctl", "restart", "systemd-networkd"])
            again = True
        time.sleep(0.5)


def lease(c, i):
    """Waits for what a router of the lab gives. It comes after the packet filter, which may have to let it in."""
    began = asked = time.monotonic()
    while True:
        link = find_link(c, i["mac"]) or {}
        why = not_in_force(c, i, link)
        now = time.monotonic()
        if not why:
            return
        if now - began > (1 if c.root else LEASE_WAIT):
            raise Problem("%s after %d seconds" % (why, now - began))
        c.give_way()
        if now - asked > 40:  # networkd asks less and less often
            c.sh(["networkctl", "reconfigure", link.get("ifname", "")])
            asked = now
        time.sleep(0.5)


def old_interfaces(c, want):
    cloud_macs(c, want)
    keep = {network_file(i) for i in want} | {NETWORKD % (i["name"], "link") for i in want if i.get("device")}
    for full in sorted(glob.glob(c.path("/etc/systemd/network/05-labctl-*.*"))):
        if full[len(c.root):] not in keep and c.differs("no longer in the lab: " + os.path.basename(full)):
            os.remove(full)
            c.sh(["networkctl", "reload"])
    macs = {i["mac"] for i in want}
    c.memory["network"] = {m: i for m, i in c.memory["network"].items() if m in macs}


def resolver(c, want):
    """/etc/resolv.conf, where nothing else makes it: then it is no link to what a resolver daemon keeps."""
    full = c.path("/etc/resolv.conf")
    if os.path.islink(full) and os.path.exists(full):
        return
    servers = [d for i in want for d in i["dns"]]
    if not servers:  # by DHCP: systemd-networkd writes down what it was told
        for l in (c.read("/run/systemd/netif/state") or b"").decode().splitlines():
            if l.startswith("DNS="):
                servers = l[4:].split()
    have = [l.split()[1] for l in (c.read("/etc/resolv.conf") or b"").decode().splitlines()
            if l.startswith("nameserver ")]
    if servers and have != servers and c.differs("/etc/resolv.conf"):
        c.write("/etc/resolv.conf", ("# written by labctl\n" + "".join("nameserver %s\n" % s for s in servers)).encode())
