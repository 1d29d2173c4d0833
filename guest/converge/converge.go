// Package converge holds the program that runs inside machines and makes the guest document true: Python 3.9 or
// later, standard library only, because every image with cloud-init has that.
//
// It must not know how the program gets there or who reads its report: that is guest.
package converge

import (
	_ "embed"
	"strings"

	"github.com/labctl-dev/labctl/guest/checks"
)

// The program is one file inside the machine and several here, each with one kind of item.
var (
	//go:embed converger.py
	converger string // what a run is: memory, report, files, other programs
	//go:embed system.py
	system string // user, hostname, hosts
	//go:embed network.py
	network string
	//go:embed filter.py
	filter string // kernel settings, packet filter
	//go:embed users.py
	users string // accounts
	//go:embed fetch.py
	fetch string // what comes over the network
	//go:embed sources.py
	sources string // sources of packages and their keys
	//go:embed data.py
	data string // folders with disks of their own
	//go:embed content.py
	content string // packages, files
	//go:embed brought.py
	brought string // what labctl brings
	//go:embed services.py
	services string // units, commands
	//go:embed waits.py
	waits string // what of them waits for other machines
	//go:embed main.py
	end string
)

// Program is the text of the program. Its first comment says how it is called and what it writes.
func Program() string {
	return strings.Join([]string{converger, system, network, fetch, sources, data, content, brought, users, filter, services, checks.Program(), waits, end}, "\n\n")
}
