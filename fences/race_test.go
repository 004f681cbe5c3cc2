//go:build race

package fences

const raceEnabled = true
