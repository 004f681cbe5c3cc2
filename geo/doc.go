// Package geo decides where a point is: inside a circle or polygon, in which H3
// cell, and in which of many shapes at once.
//
// Everything is on the WGS84 ellipsoid. Points are latitude and longitude in degrees,
// lengths are metres. A boundary belongs to its shape. Circles follow the geodesic
// distance; polygons have edges straight in longitude and latitude, as RFC 7946
// says. The poles and the antimeridian are ordinary places.
//
// # How a question is answered
//
// [Index.Match] finds the patch of longitude and latitude that the point is in, 1/256
// of a degree wide, and the small shapes that reach into it: none for most points.
// Large shapes are found by the point's cell at resolution 9 ([CellAt]) and its parents,
// in the table of their covers. Candidates are asked in the plane first, and exactly
// where that is not sure. Patches and covers miss nothing, so the answer is that of
// asking every shape.
//
//	point ─▶ patch ──────────▶ small shapes ─▶ plane ─▶ exact test ─▶ shapes
//	   │      │ most points end here                     ▲
//	   └─▶ near map ─▶ cell ─▶ cell table ─▶ large shapes┘    (if there are any)
//
// [Index.MatchBatch] takes many points through each of these steps together.
//
// # Files
//
//	point, distance       positions, ECEF, geodesic distance
//	shape, disc           Shape and circles
//	ring, part, area      polygons: unwrapping, point in polygon, area
//	edgedistance, crosses distance to the boundary, paths
//	problem, check*       faults of polygons
//	cell*, icosahedron,   the H3 cell of a point; basecells is generated
//	basecells, sincos
//	cover, region         cells of a shape
//	index, batch          the index
//	patchmap, flat        small shapes in it
//	nearmap, celltable    large shapes in it
//	h3                    the only use of the H3 binding: outlines of cells
//
// The package reads no clock, no file and no configuration.
package geo
