#!/bin/sh
# Installs socket_vmnet as services of launchd, for labctl's networks on macOS. Read it, then:
#
#   labctl system install-helper --print | sudo sh
#
# To be rid of it:
#
#   sudo launchctl bootout system/dev.labctl.vmnet.shared; sudo rm /Library/LaunchDaemons/dev.labctl.vmnet.shared.plist
#   sudo launchctl bootout system/dev.labctl.vmnet.host; sudo rm /Library/LaunchDaemons/dev.labctl.vmnet.host.plist
#   sudo launchctl bootout system/dev.labctl.vmnet.bridged.en0; sudo rm /Library/LaunchDaemons/dev.labctl.vmnet.bridged.en0.plist
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
install -o root -g wheel -m 755 "$from" /opt/labctl/bin/socket_vmnet

cat > /Library/LaunchDaemons/dev.labctl.vmnet.shared.plist <<'END'
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
	<key>Label</key>
	<string>dev.labctl.vmnet.shared</string>
	<key>ProgramArguments</key>
	<array>
		<string>/opt/labctl/bin/socket_vmnet</string>
		<string>--socket-group=staff</string>
		<string>--vmnet-mode=shared</string>
		<string>--vmnet-gateway=192.168.105.1</string>
		<string>--vmnet-dhcp-end=192.168.105.31</string>
		<string>--vmnet-mask=255.255.255.0</string>
		<string>/var/run/labctl.vmnet.shared</string>
	</array>
	<key>RunAtLoad</key>
	<true/>
	<key>KeepAlive</key>
	<true/>
	<key>UserName</key>
	<string>root</string>
	<key>ProcessType</key>
	<string>Interactive</string>
	<key>StandardErrorPath</key>
	<string>/var/log/labctl.vmnet.shared.log</string>
</dict>
</plist>
END
chown root:wheel /Library/LaunchDaemons/dev.labctl.vmnet.shared.plist
chmod 644 /Library/LaunchDaemons/dev.labctl.vmnet.shared.plist
launchctl bootout system/dev.labctl.vmnet.shared 2>/dev/null || true
launchctl enable system/dev.labctl.vmnet.shared
launchctl bootstrap system /Library/LaunchDaemons/dev.labctl.vmnet.shared.plist

cat > /Library/LaunchDaemons/dev.labctl.vmnet.host.plist <<'END'
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
	<key>Label</key>
	<string>dev.labctl.vmnet.host</string>
	<key>ProgramArguments</key>
	<array>
		<string>/opt/labctl/bin/socket_vmnet</string>
		<string>--socket-group=staff</string>
		<string>--vmnet-mode=host</string>
		<string>--vmnet-gateway=192.168.106.1</string>
		<string>--vmnet-dhcp-end=192.168.106.31</string>
		<string>--vmnet-mask=255.255.255.0</string>
		<string>/var/run/labctl.vmnet.host</string>
	</array>
	<key>RunAtLoad</key>
	<true/>
	<key>KeepAlive</key>
	<true/>
	<key>UserName</key>
	<string>root</string>
	<key>ProcessType</key>
	<string>Interactive</string>
	<key>StandardErrorPath</key>
	<string>/var/log/labctl.vmnet.host.log</string>
</dict>
</plist>
END
chown root:wheel /Library/LaunchDaemons/dev.labctl.vmnet.host.plist
chmod 644 /Library/LaunchDaemons/dev.labctl.vmnet.host.plist
launchctl bootout system/dev.labctl.vmnet.host 2>/dev/null || true
launchctl enable system/dev.labctl.vmnet.host
launchctl bootstrap system /Library/LaunchDaemons/dev.labctl.vmnet.host.plist

cat > /Library/LaunchDaemons/dev.labctl.vmnet.bridged.en0.plist <<'END'
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
	<key>Label</key>
	<string>dev.labctl.vmnet.bridged.en0</string>
	<key>ProgramArguments</key>
	<array>
		<string>/opt/labctl/bin/socket_vmnet</string>
		<string>--socket-group=staff</string>
		<string>--vmnet-mode=bridged</string>
		<string>--vmnet-interface=en0</string>
		<string>/var/run/labctl.vmnet.bridged.en0</string>
	</array>
	<key>RunAtLoad</key>
	<true/>
	<key>KeepAlive</key>
	<true/>
	<key>UserName</key>
	<string>root</string>
	<key>ProcessType</key>
	<string>Interactive</string>
	<key>StandardErrorPath</key>
	<string>/var/log/labctl.vmnet.bridged.en0.log</string>
</dict>
</plist>
END
chown root:wheel /Library/LaunchDaemons/dev.labctl.vmnet.bridged.en0.plist
chmod 644 /Library/LaunchDaemons/dev.labctl.vmnet.bridged.en0.plist
launchctl bootout system/dev.labctl.vmnet.bridged.en0 2>/dev/null || true
launchctl enable system/dev.labctl.vmnet.bridged.en0
launchctl bootstrap system /Library/LaunchDaemons/dev.labctl.vmnet.bridged.en0.plist

echo "socket_vmnet runs; 'labctl doctor' checks it"
