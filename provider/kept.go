package provider

import (
	"path/filepath"
	"time"
)

// KeptPath is where a provider with files on this host keeps a protected disk that it was told to delete: beside the labs'
// folders, so that nothing that takes a lab away takes it away too. ext is the file's, with its dot.
//
//	$LABCTL_HOME/kept/<lab>/<target>/<machine>/<disk>-20060102T150405.000Z.qcow2
func (o Options) KeptPath(lab, machine, disk string, at time.Time, ext string) string {
	stamp := at.UTC().Format("20060102T150405.000Z")
	return filepath.Join(o.Home, "kept", lab, o.Target, machine, disk+"-"+stamp+ext)
}
