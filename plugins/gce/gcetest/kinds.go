package gcetest

// kinds are the collections whose things can be made and changed, and those that are only looked at.
func kinds() []*kind {
	return []*kind{
		networks(), subnetworks(), routes(), firewalls(), routers(), addresses(), disks(), snapshots(), images(), instances(),
		{collection: "zones", singular: "zone"},
		{collection: "regions", singular: "region"},
		{collection: "machineTypes", singular: "machineType"},
		{collection: "acceleratorTypes", singular: "acceleratorType"},
		{collection: "diskTypes", singular: "diskType"},
	}
}
