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
// [Index.Match] looks at a bit map of where shapes are (most points are near none),
// then finds the point's cell at resolution 9 with [CellAt], then the shapes whose
// covers hold that cell or a parent of it, and asks those exactly. Covers miss
// nothing, so the answer is that of asking every shape.
//
//	point ─▶ near map ─▶ cell ─▶ cell table ─▶ exact test ─▶ shapes
//	          │ most points end here
//
// # Files
//
//	point, distance       positions, ECEF, geodesic distance
//	shape, disc           Shape and circles
//	ring, part, area      polygons: unwrapping, point in polygon, area
//	edgedistance, crosses distance to the boundary, paths
//	problem, check*       faults of polygons
//	cell*, icosahedron,   the H3 cell of a point; basecells is generated
//	basecells
//	cover, region         cells of a shape
//	index, nearmap        the index
//	h3                    the only use of the H3 binding: outlines of cells
//
// The package reads no clock, no file and no configuration.
package geo
