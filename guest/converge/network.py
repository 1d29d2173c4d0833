# --- network (systemd-networkd; cloud-init has configured the first boot by the same rules)

def network_file(i):
    return "/etc/systemd/network/05-labctl-%s.network" % i["name"]


def network_text(i):
    t = ["# written by labctl", "[Match]", "MACAddress=" + i["mac"], "Type=ether", "[Link]"]
    t += ["MTUBytes=%d" % i["mtu"]] if i["mtu"] else []
    t += ["RequiredForOnline=" + ("yes" if i["default"] else "no"), "[Network]", "LinkLocalAddressing=ipv6",
          "DHCP=" + ("ipv4" if i["dhcp"] else "no")]
    t += [] if i["default"] and i["dhcp"] else ["IPv6AcceptRA=no"]  # else systemd waits 12 seconds for a router
    t += ["Address=" + a for a in i["addresses"]] + ["DNS=" + d for d in i["dns"]]
    t += ["Gateway=" + i["gateway"]] if i.get("gateway") else []
    if i["dhcp"]:
        use = "yes" if i["default"] else "no"
        t += ["[DHCPv4]", "ClientIdentifier=mac", "UseRoutes=" + use, "UseDNS=" + use, "UseMTU=no"]
    return ("\n".join(t) + "\n").encode()


def find_link(c, mac):
    found = [l for l in json.loads(c.must("ip addr", ["ip", "-j", "addr"])) if l.get("address", "").lower() == mac]
    found.sort(key=lambda l: not os.path.exists("/sys/class/net/%s/device" % l["ifname"]))
    return found[0] if found else None


def not_in_force(c, i, link):
    """What of i the kernel does not do; "" if all is in force. Addresses that others added do not matter."""
    if "NO-CARRIER" in link.get("flags", []):
        return ""  # nothing is in force without a cable
    infos = [a for a in link.get("addr_info", []) if a.get("scope") == "global"]
    have = {ipaddress.ip_interface("%s/%d" % (a["local"], a["prefixlen"])) for a in infos if not a.get("dynamic")}
    lease = [a for a in infos if a.get("dynamic") and a["family"] == "inet"]
    missing = [a for a in i["addresses"] if ipaddress.ip_interface(a) not in have]
    if missing:
        return "address %s is missing" % missing[0]
    if "UP" not in link.get("flags", []):
        return "is down"
    if i["mtu"] and link.get("mtu") != i["mtu"]:
        return "MTU is %s, not %d" % (link.get("mtu"), i["mtu"])
    if i["dhcp"] != bool(lease):
        return "has an address by DHCP" if lease else "has no address by DHCP"
    if i.get("gateway"):
        family = "-6" if ":" in i["gateway"] else "-4"
        routes = json.loads(c.must("ip route", ["ip", "-j", family, "route", "show", "default"]) or "[]")
        if not any(r.get("gateway") == i["gateway"] and r.get("dev") == link["ifname"] for r in routes):
            return "default route is missing"
    return ""


def interface(c, i):
    link = find_link(c, i["mac"])
    if not link:
        raise Problem("no interface has the address " + i["mac"])
    file, text, before = network_file(i), network_text(i), c.memory["network"].get(i["mac"])
    have, why = c.read(file), not_in_force(c, i, link)
    if why and before is None and have is None and not c.check and c.report["run"] == "boot":
        why = coming_up(c, i, why)
    if before is not None and before != i:
        why = "configuration changed"
    elif have is not None and have != text:
        why = file
    elif i["dhcp"] and have == text and why == "has no address by DHCP":
        why = ""  # nobody answers; asking again is networkd's job
    if why and c.differs(why):
        status, out = c.sh(["systemctl", "is-active", "systemd-networkd"])
        if status:
            raise Problem("%s, and systemd-networkd does not run here to mend it" % why, out)
        c.write(file, text)
        c.must("networkctl reload", ["networkctl", "reload"])
        c.must("networkctl reconfigure", ["networkctl", "reconfigure", link["ifname"]])
        wait_in_force(c, i)
    elif have is None and not c.check and os.path.isdir(c.path("/run/systemd/netif")):
        # cloud-init's own file also names the interface, and that name moves when a NIC comes before it at the next boot
        c.write(file, text)
    c.memory["network"][i["mac"]] = i
    c.remember()


def coming_up(c, i, why):
    """Waits for a first boot's network, for which boot itself need not wait; then only what needs it does."""
    end = time.monotonic() + (30 if i["default"] or not i["dhcp"] else 3)
    while why and time.monotonic() < end and not c.root:
        time.sleep(0.3)
        why = not_in_force(c, i, find_link(c, i["mac"]) or {})
    return why


def wait_in_force(c, i):
    why, end = "", time.monotonic() + 30
    while time.monotonic() < end:
        why = not_in_force(c, i, find_link(c, i["mac"]) or {})
        if not why or i["dhcp"] and not i["default"] and "DHCP" in why:
            return
        time.sleep(0.5)
    raise Problem("not in force 30 seconds after networkctl reconfigure: " + why)


def old_interfaces(c, want):
    keep = {network_file(i) for i in want}
    for full in glob.glob(c.path("/etc/systemd/network/05-labctl-*.network")):
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
    servers = [d for i in want if i["default"] for d in i["dns"]]
    if not servers:  # by DHCP: systemd-networkd writes down what it was told
        for l in (c.read("/run/systemd/netif/state") or b"").decode().splitlines():
            if l.startswith("DNS="):
                servers = l[4:].split()
    have = [l.split()[1] for l in (c.read("/etc/resolv.conf") or b"").decode().splitlines()
            if l.startswith("nameserver ")]
    if servers and have != servers and c.differs("/etc/resolv.conf"):
        c.write("/etc/resolv.conf", ("# written by labctl\n" + "".join("nameserver %s\n" % s for s in servers)).encode())
