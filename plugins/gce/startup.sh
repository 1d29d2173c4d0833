#!/bin/sh
# By labctl. Run by Google's guest agent at each boot.
set -u
# The agent leaves the interfaces to what labctl says of them.
f=${LABCTL_ROOT:-}/etc/default/instance_configs.cfg # LABCTL_ROOT: for tests
if ! grep -q 'by labctl' "$f" 2>/dev/null; then
	printf '# by labctl\n[NetworkInterfaces]\nsetup = false\nip_forwarding = false\nmanage_primary_nic = false\n[IpForwarding]\nethernet_proto_id = 66\nip_aliases = false\ntarget_instance_ips = false\n' >"$f"
	systemctl try-restart google-guest-agent 2>/dev/null
fi
# Where there is cloud-init, it reads the seed. Google's Debian images have none.
[ -x "${LABCTL_ROOT:-}/usr/bin/cloud-init" ] && exit 0
exec python3 - <<'EOF'
import base64, gzip, json, os, pwd, subprocess, urllib.request

DONE, RESULT = "/var/lib/labctl/seeded", "/run/cloud-init/result.json"
META = os.environ.get("LABCTL_METADATA", "http://metadata.google.internal/computeMetadata/v1/instance/")
ROOT = os.environ.get("LABCTL_ROOT", "")


def get(key):
    request = urllib.request.Request(META + key, headers={"Metadata-Flavor": "Google"})
    return urllib.request.urlopen(request, timeout=60).read().decode()


def write(path, text, mode=0o644):
    path = ROOT + path
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as f:
        f.write(text if isinstance(text, bytes) else text.encode())
    os.chmod(path + ".new", mode)
    os.replace(path + ".new", path)


def account(user):
    name = user["name"]
    try:
        pwd.getpwnam(name)
    except KeyError:
        subprocess.run(["useradd", "-m", "-s", user["shell"], "-c", user["gecos"], "-G", user["groups"], name], check=True)
    write("/etc/sudoers.d/90-labctl", "%s %s\n" % (name, user["sudo"]), 0o440)
    home = pwd.getpwnam(name).pw_dir
    write(home + "/.ssh/authorized_keys", "".join(k + "\n" for k in user["ssh_authorized_keys"]), 0o600)
    subprocess.run(["chown", "-R", name + ":", ROOT + home + "/.ssh"], check=True)
    os.chmod(ROOT + home + "/.ssh", 0o700)


def host_keys(keys):
    if not keys:
        return
    write("/etc/ssh/ssh_host_ed25519_key", keys["ed25519_private"], 0o600)
    write("/etc/ssh/ssh_host_ed25519_key.pub", keys["ed25519_public"] + "\n")
    for other in ("rsa", "ecdsa", "dsa"):
        for end in ("", ".pub"):
            if os.path.exists(ROOT + "/etc/ssh/ssh_host_%s_key%s" % (other, end)):
                os.remove(ROOT + "/etc/ssh/ssh_host_%s_key%s" % (other, end))
    subprocess.run(["systemctl", "restart", "ssh"])


def seed(document):
    write("/etc/hostname", document["hostname"] + "\n")
    subprocess.run(["hostname", document["hostname"]])
    for user in document["users"]:
        account(user)
    host_keys(document.get("ssh_keys"))
    for f in document["write_files"]:
        write(f["path"], gzip.decompress(base64.b64decode(f["content"])), int(f["permissions"], 8))
    failed = []
    for argv in document["runcmd"]:
        if subprocess.run([ROOT + argv[0]] + argv[1:]).returncode:
            failed.append("runcmd: %s failed" % argv[0])
    return failed


instance = get("id")
try:
    done = open(ROOT + DONE).read()
except FileNotFoundError:
    done = ""
errors = []
if done != instance:
    errors = seed(json.loads(get("attributes/user-data").split("\n", 1)[1]))
    write(DONE, instance)
write(RESULT, json.dumps({"v1": {"datasource": "labctl's startup script", "errors": errors}}))
EOF
