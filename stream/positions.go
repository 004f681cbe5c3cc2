package stream

import (
	"fmt"

	"footfall/geo"
	"footfall/stream/wire"
	"footfall/track"
)

// Positions says how exactly positions are taken in. The zero value takes them as they come.
type Positions struct {
	// Mode is what becomes of a position before anything is stored or decided.
	Mode PositionMode
	// Resolution of the H3 cell that PositionsCoarse rounds to: MinCoarse to MaxCoarse.
	Resolution int
}

// PositionMode is how exactly positions are taken in.
type PositionMode string

// The modes.
const (
	PositionsExact  PositionMode = "exact"  // as they come
	PositionsCoarse PositionMode = "coarse" // the centre of their H3 cell, with an accuracy that covers it
	PositionsNone   PositionMode = "none"   // not at all: only transitions that the phone has found itself
)

// The resolutions that PositionsCoarse may have: cells of some 36 km² to 15,000 m².
const (
	MinCoarse = 6
	MaxCoarse = 10
)

// Validate reports what makes no sense.
func (p Positions) Validate() error {
	switch p.Mode {
	case "", PositionsExact, PositionsNone:
		return nil
	case PositionsCoarse:
		if p.Resolution < MinCoarse || p.Resolution > MaxCoarse {
			return fmt.Errorf("stream: coarse positions: an H3 resolution of %d; allowed: %d to %d", p.Resolution, MinCoarse, MaxCoarse)
		}
		return nil
	}
	return fmt.Errorf("stream: positions: %q is none of %s, %s and %s", p.Mode, PositionsExact, PositionsCoarse, PositionsNone)
}

// Reduce takes from a checked fix what must not be known. It returns "" when something is left, else the code of the refusal.
func (p Positions) Reduce(f *track.Fix) wire.Code {
	switch {
	case !f.HasPosition:
	case p.Mode == PositionsNone:
		if !f.Source.OS() || f.Fence == "" {
			return wire.CodeNoPositions
		}
		f.HasPosition, f.Lat, f.Lng, f.AccuracyM, f.SpeedMPS = false, 0, 0, 0, -1
	case p.Mode == PositionsCoarse:
		at := geo.CellAt(geo.Point{Lat: f.Lat, Lng: f.Lng}, p.Resolution).Center()
		lat, lng := track.RoundE7(at.Lat, at.Lng) // which the log keeps to the bit
		f.Lat, f.Lng = float64(lat)/1e7, float64(lng)/1e7
		f.AccuracyM += float32(geo.CellRadiusM(p.Resolution))
		f.SpeedMPS = -1
	}
	return ""
}
