# --- folders with a disk of their own

DISK_WAIT = 60  # seconds; a disk that was plugged in just now
MAKING = "labctl-making"  # the label of a file system until it is whole
MOUNT_UNIT = """# written by labctl
[Unit]
Description=labctl: %s, on a disk of its own

[Mount]
What=%s
Where=%s
Type=%s

[Install]
WantedBy=local-fs.target
"""


def find_disk(c, name):
    """The device that has a disk's name as its serial number; "" if there is none."""
    for how in ("virtio-", "google-", "labctl-"):
        p = c.path("/dev/disk/by-id/" + how + name)
        if os.path.exists(p):
            return p
    for f in glob.glob(c.path("/sys/block/*/serial")) + glob.glob(c.path("/sys/block/*/device/serial")):
        with open(f) as serial:
            if serial.read().strip() == name:
                return "/dev/" + f[len(c.path("/sys/block/")):].split("/")[0]
    return ""


def signature(c, device):
    """What stands on a device: its TYPE and LABEL, PTTYPE if it has partitions; {} if it is empty."""
    status, out = c.sh(["blkid", "-p", "-o", "export", device])
    if status == 2:
        return {}
    if status:
        raise Problem("cannot tell what is on %s: exit status %d" % (device, status), out)
    return dict(l.split("=", 1) for l in out.splitlines() if "=" in l)


def mounted(c, path):
    """The device numbers and type of what is mounted at path, None if nothing is."""
    found = None
    for l in (c.read("/proc/self/mountinfo") or b"").decode().splitlines():
        w = l.split(" ")
        if w[4].replace("\\040", " ") == path:
            found = w[2], w[w.index("-") + 1]
    return found


def numbers(device):
    n = os.stat(device).st_rdev
    return "%d:%d" % (os.major(n), os.minor(n))


def data(c, d):
    """Mounts the folder's disk; makes its file system if it never had one."""
    path, name = d["path"], d["disk"]
    device = find_disk(c, name)
    end = time.monotonic() + DISK_WAIT
    while not device and not c.check and time.monotonic() < end:
        time.sleep(0.5)
        device = find_disk(c, name)
    if not device and c.differs("the machine has no disk with the serial number " + name):
        raise Problem(c.noted.pop())
    if not device:
        return
    at = mounted(c, path)
    if at and at[0] != numbers(device):
        raise Problem("something else is mounted there: device %s, not %s" % (at[0], device))
    have = signature(c, device)
    if "PTTYPE" in have and "TYPE" not in have:
        raise Problem("its disk has a partition table (%s), which labctl does not make: it is not touched" % have["PTTYPE"])
    fresh = not have or have.get("LABEL") == MAKING and not at  # a run that was killed in the middle
    if not at:
        if os.path.isdir(c.path(path)) and os.listdir(c.path(path)):
            raise Problem("is not empty, and would be hidden by its disk: move away what is in it, and back when it is mounted")
        if not c.differs("its disk is empty" if fresh else "is not mounted"):
            return
        if fresh:
            have = format(c, device, name)
        hold(c, path)
    mount(c, path, device, have, at)
    if fresh and os.path.isdir(c.path(path + "/lost+found")):  # packages want their folder empty; fsck makes a new one
        os.rmdir(c.path(path + "/lost+found"))
    grow(c, device, have["TYPE"])


def mount(c, path, device, have, at):
    """Sees to it that the file system is mounted, now and at boot: before any service is started, and without it the
    machine starts all the same."""
    unit = c.must("systemd-escape", ["systemd-escape", "--path", "--suffix=mount", path]).strip()
    file, text = "/etc/systemd/system/" + unit, (MOUNT_UNIT % (path, source_of(c, device, have), path, have["TYPE"])).encode()
    c.memory["data"][path] = unit
    c.remember()
    if c.read(file) != text and (not at or c.differs(unit)):
        c.write(file, text)
        c.must("systemctl daemon-reload", ["systemctl", "daemon-reload"])
    if not at:
        systemctl(c, "start", unit)
        systemctl(c, "enable", unit)
        if not mounted(c, path):
            raise Problem("it was mounted, but is not there", journal(c, unit))
    elif unit_state(c, unit).get("UnitFileState") != "enabled" and c.differs(unit + " is not enabled"):
        systemctl(c, "enable", unit)


def format(c, device, name):
    if not shutil.which("mkfs.ext4"):
        status, out = install(c, ["e2fsprogs"])
        if status:
            raise Problem("e2fsprogs cannot be installed: exit status %d" % status, out)
    c.must("cannot make a file system", ["mkfs.ext4", "-q", "-F", "-m", "1", "-L", MAKING, device], deadline=COMMAND_DEADLINE)
    c.must("cannot label the file system", ["e2label", device, name])
    return {"TYPE": "ext4", "LABEL": name}


def hold(c, path):
    """Makes the place for a mount, never to be written to while nothing is mounted there. A service that
    starts without its disk fails, rather than begin anew on the root disk."""
    os.makedirs(c.path(path), exist_ok=True)
    c.sh(["chattr", "+i", c.path(path)])  # not every file system can


def source_of(c, device, have):
    """How a boot finds the file system: by label where udev knows those, else by the disk's serial number."""
    p = "/dev/disk/by-label/" + have.get("LABEL", "")
    c.sh(["udevadm", "settle", "--timeout=10"])
    if have.get("LABEL") and os.path.exists(c.path(p)) and os.path.realpath(c.path(p)) == os.path.realpath(device):
        return p
    return device[len(c.root):]


def grow(c, device, kind):
    """Lets a file system fill its disk, in use as it is."""
    if kind not in ("ext2", "ext3", "ext4"):
        return
    out = c.must("dumpe2fs", ["dumpe2fs", "-h", device])
    f = dict(l.split(":", 1) for l in out.splitlines() if ":" in l)
    have = int(f["Block count"]) * int(f["Block size"])
    most = int(c.must("blockdev", ["blockdev", "--getsize64", device]))
    if most - have >= 1 << 20 and c.differs("fills %d MiB of a disk of %d" % (have >> 20, most >> 20)):
        c.must("cannot grow the file system", ["resize2fs", device], deadline=COMMAND_DEADLINE)


def data_owner(c, d):
    """Whose the folder is: a package or users may have made the account."""
    full = c.path(d["path"])
    if not mounted(c, d["path"]):
        return  # data said why, or --check what is missing
    uid, gid = ids(c, d["owner"], d["group"])
    s, mode = os.stat(full), int(d["mode"], 8)
    why = ["mode"] if stat.S_IMODE(s.st_mode) != mode else []
    why += ["owner"] if (s.st_uid, s.st_gid) != (uid, gid) else []
    if why and c.differs(", ".join(why)):
        os.chown(full, uid, gid)
        os.chmod(full, mode)


def old_data(c, path):
    """Forgets a folder that an earlier document had: its disk is left as it is."""
    unit = c.memory["data"][path]
    if not c.differs("unmounted" if not c.check else "no longer in the lab"):
        return
    if mounted(c, path):
        status, out = c.sh(["systemctl", "stop", unit])
        if mounted(c, path):
            raise Problem("cannot be unmounted: something uses it", out + c.sh(["fuser", "-vm", c.path(path)])[1])
    c.sh(["systemctl", "disable", unit])
    if os.path.lexists(c.path("/etc/systemd/system/" + unit)):
        os.remove(c.path("/etc/systemd/system/" + unit))
    c.must("systemctl daemon-reload", ["systemctl", "daemon-reload"])
    if os.path.isdir(c.path(path)):
        c.sh(["chattr", "-i", c.path(path)])
    del c.memory["data"][path]
    c.remember()


def folders(c, want):
    for path in sorted(set(c.memory["data"]) - {d["path"] for d in want}, reverse=True):
        c.item("data", path, old_data, c, path)
    for d in want:
        c.item("data", d["path"], data, c, d)
    if "data" in c.failed and not c.check:
        raise Stop("a service would begin anew without its data")
