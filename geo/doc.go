// Package geo decides where a point is: inside a circle or polygon on the WGS84
// ellipsoid, in which H3 cell, and in which of many shapes at once.
package geo
