package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// holder names the process that holds a lock on the file, as far as the kernel tells.
func holder(path string) string {
	const nobody = "another pushdoctor"
	info, err := os.Stat(path)
	if err != nil {
		return nobody
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nobody
	}
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		return nobody
	}
	// 1: FLOCK  ADVISORY  WRITE 812 fe:00:1048609 0 EOF
	// One that waits has "->" behind the number; a process outside of the container is 0.
	dev := uint64(stat.Dev)
	major, minor := dev>>8&0xfff|dev>>32&^0xfff, dev&0xff|dev>>12&^0xff
	file := fmt.Sprintf("%02x:%02x:%d", major, minor, stat.Ino)
	for line := range strings.Lines(string(locks)) {
		f := strings.Fields(line)
		if len(f) < 6 || f[1] != "FLOCK" || f[5] != file {
			continue
		}
		pid, err := strconv.Atoi(f[4])
		if err != nil || pid <= 0 {
			continue
		}
		if pid == os.Getpid() {
			return "this process"
		}
		name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if err != nil {
			continue
		}
		return fmt.Sprintf("process %d (%.40q)", pid, bytes.TrimSpace(name))
	}
	return nobody
}

// release lets go of the lock on a file that bbolt has mapped and not unmapped: the mapping keeps the lock
// beyond the file's close.
func release(f *os.File) error {
	return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
}
