#!/bin/sh
# Installs socket_vmnet as services of launchd, for labctl's networks on macOS. Read it, then:
#
#   labctl system install-helper --print | sudo sh
#
# To be rid of it:
#{{range .Helpers}}
#   sudo launchctl bootout system/{{.Label}}; sudo rm {{.File}}{{end}}
#   sudo rm -r /opt/labctl
set -eu
[ "$(uname)" = Darwin ] || { echo "this is for macOS" >&2; exit 1; }
[ "$(id -u)" = 0 ] || { echo "this needs root: ... | sudo sh" >&2; exit 1; }

# A copy that nobody but root can write, since root runs it.
from=""
for p in /opt/homebrew/opt/socket_vmnet/bin /usr/local/opt/socket_vmnet/bin /opt/local/bin /opt/socket_vmnet/bin; do
	if [ -x "$p/socket_vmnet" ]; then from="$p/socket_vmnet"; break; fi
done
[ -n "$from" ] || { echo "socket_vmnet is not installed: brew install socket_vmnet" >&2; exit 1; }
install -d -o root -g wheel -m 755 /opt/labctl /opt/labctl/bin
install -o root -g wheel -m 755 "$from" {{.Program}}
{{range .Helpers}}
cat > {{.File}} <<'END'
{{.Plist}}END
chown root:wheel {{.File}}
chmod 644 {{.File}}
launchctl bootout system/{{.Label}} 2>/dev/null || true
launchctl enable system/{{.Label}}
launchctl bootstrap system {{.File}}
{{end}}
echo "socket_vmnet runs; 'labctl doctor' checks it"
