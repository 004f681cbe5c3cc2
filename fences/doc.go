// Package fences turns GeoJSON into the immutable Set of fences that pings are
// matched against, and says everything that is wrong with the text on the way.
//
// # Reading
//
// Parse reads one document and Load a file or a folder: a FeatureCollection, a
// single Feature, newline-delimited features or an RFC 8142 text sequence. A
// fence is a Point with a radius (metres), a Polygon or a MultiPolygon. Parse
// reports every problem at once as a Finding with a code, a line and column, an
// RFC 6901 pointer and, where one exists, a text edit that repairs it; Codes
// lists what can be found. It returns the fences that can be used; whether a
// document with errors may be used at all is for the caller to decide with
// HasErrors.
//
// The JSON reader is the package's own: positions in the text, duplicate names,
// and the exact bytes of a feature's properties are lost by every decoder that
// builds values first.
//
// # Sets
//
// NewSet builds the spatial index and never changes afterwards, so a Set may be
// shared by any number of goroutines behind an atomic pointer; an edit builds
// a new one. A Catalogue remembers across edits and restarts which id has which
// handle and when its geometry last changed.
package fences
