package guest

import (
	"context"
	"encoding/binary"
	"strconv"
	"strings"
	"time"
)

// Uptime is since when a machine's first process runs, in whole seconds: a container's kernel is the host's, and runs longer.
// 0 if the machine does not say. The error is about reaching it.
func Uptime(ctx context.Context, sh Shell) (time.Duration, error) {
	out, err := sh.Run(ctx, "cat /proc/self/auxv /proc/uptime /proc/1/stat", nil)
	if err != nil {
		return 0, err
	}
	ticks, rest := clockTicks(out.Stdout)
	up, stat, _ := strings.Cut(string(rest), "\n")
	kernel, err := strconv.ParseFloat(strings.SplitN(up, " ", 2)[0], 64)
	if err != nil || ticks == 0 {
		return 0, nil
	}
	// A process's name may hold anything. Its 22nd field is when it began (proc_pid_stat(5)); the third is the first after
	// the name.
	fields := strings.Fields(stat[strings.LastIndex(stat, ")")+1:])
	const began = 22 - 3
	if len(fields) <= began {
		return 0, nil
	}
	at, err := strconv.ParseFloat(fields[began], 64)
	if err != nil {
		return 0, nil
	}
	return time.Duration((kernel - at/float64(ticks)) * float64(time.Second)).Round(time.Second), nil
}

// clockTicks reads a process's auxiliary vector (getauxval(3)) for the number of ticks in a second of the kernel's that tells
// it, 0 if it does not; rest is what comes after the vector. Machines are amd64 or arm64: pairs of eight bytes, the lowest
// first, up to a type of 0.
func clockTicks(b []byte) (ticks uint64, rest []byte) {
	const atNull, atClockTick, size = 0, 17, 16 // <linux/auxvec.h>
	for len(b) >= size {
		kind, value := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
		b = b[size:]
		switch kind {
		case atNull:
			return ticks, b
		case atClockTick:
			ticks = value
		}
	}
	return 0, nil
}
