package schema_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// What a service's own checker says of the files that the library makes for it, by role: a shell script that is run once
// for every machine that has the last of these files. It sees that machine's golden files in $FILES and has a network,
// /run, /var/log and the folder /etc/NAME of its own, in which they are. It prints nothing if all is well.
var checkers = []struct{ role, programs, etc, file, script string }{
	{"ntp", "chronyd", "chrony", "etc/chrony/chrony.conf", `chronyd -p -f /etc/chrony/chrony.conf >/dev/null`},
	{"dns", "named-checkconf named-checkzone", "bind", "etc/bind/named.conf", `
		mount -t tmpfs none /var/cache/bind
		if [ -e $FILES/usr/local/sbin/dns-forwarders ]; then sh $FILES/usr/local/sbin/dns-forwarders; fi
		out=$(named-checkconf -z /etc/bind/named.conf 2>&1) || echo "$out"
		for z in /etc/bind/lab/*.zone; do
			out=$(named-checkzone -k fail -m fail -M fail -r fail -S fail "$(basename $z .zone)" $z) || echo "$out"
		done`},
	{"jumpbox", "sshd ssh-keygen", "ssh", "etc/ssh/sshd_config.d/10-jumpbox.conf", `
		mkdir /run/sshd
		rm -f /etc/ssh/ssh_host_*
		ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key
		chmod 600 /etc/ssh/sshd_config.d/10-jumpbox.conf
		sshd -t 2>&1 || exit 0
		is() { sshd -T -C "user=$1,host=x,addr=192.0.2.1" 2>&1 | grep -qix "$2" || echo "for $1: not $2"; }
		is alice 'forcecommand /usr/sbin/nologin'; is alice 'permittty no'; is carol 'forcecommand none'; is carol 'permittty yes'
		for line in 'passwordauthentication no' 'kbdinteractiveauthentication no' 'permitrootlogin no' 'allowtcpforwarding local' 'permitopen \*:22' \
			'allowagentforwarding no' 'x11forwarding no' 'allowusers alice' 'allowusers carol' 'allowusers lab' 'allowusers deploy'; do
			is alice "$line"; is carol "$line"
		done`},
	{"smtp", "postfix postconf", "postfix", "etc/postfix/main.cf", `
		postconf -n 2>&1 >/dev/null
		postconf -M 2>&1 >/dev/null
		postconf -P 2>&1 >/dev/null
		grep -q . /etc/postfix/aliases && postmap -q postmaster texthash:/etc/postfix/aliases | grep -qx lab || echo postmaster has no mailbox
		if [ "$AS_ROOT" ]; then postfix -c /etc/postfix check; fi`},
	{"http", "nginx openssl", "nginx", "etc/nginx/nginx.conf", `
		sysctl -qw net.ipv4.ip_nonlocal_bind=1 net.ipv6.ip_nonlocal_bind=1
		openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x -keyout /etc/nginx/lab.key -out /etc/nginx/lab.pem 2>/dev/null
		nginx -t -q 2>&1`},
}

func TestLibraryPleasesItsServices(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the services run on Linux")
	}
	t.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin")
	for _, c := range checkers {
		t.Run(c.role, func(t *testing.T) {
			for _, program := range append(strings.Fields(c.programs), "unshare") {
				if _, err := exec.LookPath(program); err == nil {
					continue
				}
				if os.Getenv("CI") == "true" {
					t.Fatalf("%s is not installed", program)
				}
				t.Skipf("%s is not installed", program)
			}
			found, err := filepath.Glob(filepath.Join(library, c.role, "*", c.file))
			if err != nil || len(found) == 0 {
				t.Fatalf("no machine has %s: %v", c.file, err)
			}
			for _, f := range found {
				machine := strings.TrimSuffix(f, c.file)
				if out := checked(t, machine, c.etc, c.script); out != "" {
					t.Errorf("%s:\n%s", machine, out)
				}
			}
		})
	}
}

// checked runs a script where /etc/NAME is a copy of this host's with the files of a machine in it, and returns what it
// prints.
func checked(t *testing.T, machine, etc, script string) string {
	t.Helper()
	files, err := filepath.Abs(machine)
	if err != nil {
		t.Fatal(err)
	}
	const prepare = `set -eu
		mount -t tmpfs none /var/log
		mkdir -p /var/log/nginx
		mount -t tmpfs none /run
		cp -a /etc/$NAME $COPY/etc
		cp -r $FILES/etc/$NAME/. $COPY/etc/
		mount --bind $COPY/etc /etc/$NAME
		ip link set lo up
	`
	args := []string{"--mount", "--net"}
	if os.Geteuid() != 0 {
		args = append(args, "--map-root-user")
	}
	cmd := exec.Command("unshare", append(args, "sh", "-c", prepare+script)...)
	cmd.Env = append(os.Environ(), "NAME="+etc, "FILES="+files, "COPY="+t.TempDir())
	if os.Geteuid() == 0 {
		cmd.Env = append(cmd.Env, "AS_ROOT=yes")
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out) + err.Error()
	}
	return string(out)
}

// What the provisioner's dnsmasq is told, and by whom its addresses are known, as dnsmasq itself reads it.
func TestProvisionerPleasesDnsmasq(t *testing.T) {
	dnsmasq, err := exec.LookPath("dnsmasq")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	found, err := filepath.Glob(filepath.Join(library, "provisioner", "*", "srv/pxeboot/dnsmasq.conf"))
	if err != nil || len(found) != 2 {
		t.Fatalf("machines with a configuration: %v, %v", found, err)
	}
	for _, f := range found {
		hosts, err := filepath.Abs(filepath.Join(filepath.Dir(f), "hosts"))
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		here := filepath.Join(t.TempDir(), "dnsmasq.conf")
		if err := os.WriteFile(here, []byte(strings.ReplaceAll(string(text), "/srv/pxeboot/hosts", hosts)), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(dnsmasq, "--test", "--conf-file="+here).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", f, err, out)
		}
	}
}
