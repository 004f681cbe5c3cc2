package report

import (
	"os"
	"strconv"
	"strings"
)

// hardware names the processor and counts the memory.
func hardware() (cpu string, memoryMB int64) {
	field := func(path, key string) string {
		text, _ := os.ReadFile(path)
		for line := range strings.Lines(string(text)) {
			if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == key {
				return strings.TrimSpace(v)
			}
		}
		return ""
	}
	kb, _ := strconv.ParseInt(strings.TrimSuffix(field("/proc/meminfo", "MemTotal"), " kB"), 10, 64)
	return field("/proc/cpuinfo", "model name"), kb >> 10
}
