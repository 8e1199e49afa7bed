package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What a run hands back; absent figures were not measured.
type figures struct {
	Rate       *float64 `json:"rate"`
	Counted    *float64 `json:"counted"`
	P50Ms      *float64 `json:"p50_ms"`
	P99Ms      *float64 `json:"p99_ms"`
	P999Ms     *float64 `json:"p999_ms"`
	CPUSeconds *float64 `json:"cpu_seconds"`
	RssMib     *float64 `json:"rss_mib"`
	PeakRssMib *float64 `json:"peak_rss_mib"`
}

type times []time.Duration

func (f figures) withTimes(took times) figures {
	if len(took) == 0 {
		return f
	}
	sorted := slices.Sorted(slices.Values(took))
	at := func(quantile float64) *float64 {
		index := min(int(quantile*float64(len(sorted))), len(sorted)-1)
		millis := float64(sorted[index]) / float64(time.Millisecond)
		return &millis
	}
	f.P50Ms, f.P99Ms, f.P999Ms = at(0.5), at(0.99), at(0.999)
	return f
}

// A moment that a measurement began at.
type began struct {
	at  time.Time
	cpu float64
	err error
}

func beginNow() began {
	cpu, err := cpuSeconds()
	return began{at: time.Now(), cpu: cpu, err: err}
}

// So much was done since.
func (b began) done(count int) (figures, error) {
	elapsed := time.Since(b.at).Seconds()
	cpu, err := cpuSeconds()
	f, memoryErr := memory()
	counted := float64(count)
	rate, used := counted/elapsed, cpu-b.cpu
	f.Rate, f.Counted, f.CPUSeconds = &rate, &counted, &used
	return f, errors.Join(b.err, err, memoryErr)
}

func memory() (figures, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return figures{}, err
	}
	var f figures
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		kib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 64)
		if err != nil {
			continue
		}
		mib := kib / 1024
		switch name {
		case "VmRSS":
			f.RssMib = &mib
		case "VmHWM":
			f.PeakRssMib = &mib
		}
	}
	return f, nil
}

// User and system time of this process; ticks are hundredths of a second on Linux.
func cpuSeconds() (float64, error) {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return 0, err
	}
	_, rest, found := bytes.Cut(stat, []byte(") "))
	fields := strings.Fields(string(rest))
	if !found || len(fields) < 13 {
		return 0, fmt.Errorf("too few fields in /proc/self/stat")
	}
	user, userErr := strconv.ParseFloat(fields[11], 64)
	system, systemErr := strconv.ParseFloat(fields[12], 64)
	return (user + system) / 100, errors.Join(userErr, systemErr)
}
