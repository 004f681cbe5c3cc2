package geo

import "math"

// vec is a vector in the frame of the unit sphere that H3 works on: x towards
// (0, 0), y towards (0, 90 E), z towards the north pole.
type vec struct{ x, y, z float64 }

func (a vec) dot(b vec) float64 { return a.x*b.x + a.y*b.y + a.z*b.z }
func (a vec) add(b vec) vec     { return vec{a.x + b.x, a.y + b.y, a.z + b.z} }
func (a vec) sub(b vec) vec     { return vec{a.x - b.x, a.y - b.y, a.z - b.z} }
func (a vec) mul(k float64) vec { return vec{a.x * k, a.y * k, a.z * k} }
func (a vec) norm() float64     { return math.Sqrt(a.dot(a)) }
func (a vec) unit() vec         { return a.mul(1 / a.norm()) }
func (a vec) cross(b vec) vec {
	return vec{a.y*b.z - a.z*b.y, a.z*b.x - a.x*b.z, a.x*b.y - a.y*b.x}
}

func (a vec) point() Point {
	return Point{
		Lat: math.Atan2(a.z, math.Hypot(a.x, a.y)) * (180 / math.Pi),
		Lng: math.Atan2(a.y, a.x) * (180 / math.Pi),
	}
}

const faceCount = 20

// faceCenters are the centres of the faces of H3's icosahedron, in H3's order.
var faceCenters = [faceCount]vec{
	{0.2199307791404606, 0.6583691780274996, 0.7198475378926182},
	{-0.2139234834501421, 0.1478171829550703, 0.9656017935214205},
	{0.1092625278784797, -0.4811951572873210, 0.8697775121287253},
	{0.7428567301586791, -0.3593941678278028, 0.5648005936517033},
	{0.8112534709140969, 0.3448953237639384, 0.4721387736413930},
	{-0.1055498149613921, 0.9794457296411413, 0.1718874610009365},
	{-0.8075407579970092, 0.1533552485898818, 0.5695261994882688},
	{-0.2846148069787907, -0.8644080972654206, 0.4144792552473539},
	{0.7405621473854482, -0.6673299564565524, -0.0789837646326737},
	{0.8512303986474293, 0.4722343788582681, -0.2289137388687808},
	{-0.7405621473854481, 0.6673299564565524, 0.0789837646326737},
	{-0.8512303986474292, -0.4722343788582682, 0.2289137388687808},
	{0.1055498149613919, -0.9794457296411413, -0.1718874610009365},
	{0.8075407579970092, -0.1533552485898819, -0.5695261994882688},
	{0.2846148069787908, 0.8644080972654204, -0.4144792552473539},
	{-0.7428567301586791, 0.3593941678278027, -0.5648005936517033},
	{-0.8112534709140971, -0.3448953237639382, -0.4721387736413930},
	{-0.2199307791404607, -0.6583691780274996, -0.7198475378926182},
	{0.2139234834501420, -0.1478171829550704, -0.9656017935214205},
	{-0.1092625278784796, 0.4811951572873210, -0.8697775121287253},
}

// H3 lays a triangular lattice on the plane that touches the sphere at a face's
// centre (gnomonic projection). At resolution 0 neighbours are 1/unitsPerTangent
// apart in units of the sphere's radius; each resolution shrinks that by the square
// root of 7 and turns the lattice by classTurn, one way and back again.
const unitsPerTangent = 2.61803398874989588842 // H3's INV_RES0_U_GNOMONIC; the golden ratio squared, to 4e-16

var (
	sinClassTurn = math.Sqrt(3.0 / 28)
	cosClassTurn = math.Sqrt(25.0 / 28)
)

// faceFrame turns a unit vector p into lattice coordinates on one face:
// a = p·A / p·C * latticeScale[res], and the same for b. The position is a·e1 + b·e2
// with e1 towards a corner of the face and e2 120 degrees counter-clockwise of it.
type faceFrame struct {
	C    vec
	P, R [2]vec // 2A - B and 2B - A: what roundLattice asks for
	A, B [2]vec // by resolution & 1: even lattices are upright, odd ones turned
	u, v vec    // e1's direction and the one 90 degrees counter-clockwise
}

var faceFrames = buildFaceFrames()

// latticeScale[res] is the number of lattice steps per tangent unit.
var latticeScale = buildLatticeScale()

func buildLatticeScale() (s [MaxResolution + 1]float64) {
	k := unitsPerTangent
	for r := range s {
		s[r] = k
		k *= math.Sqrt(7)
	}
	return s
}

func buildFaceFrames() (frames [faceCount]faceFrame) {

	for f, c := range faceCenters {
		// Seen from the face's centre, a neighbour lies across an edge, and the
		// opposite way there is a corner. The first neighbour in H3's order is
		// taken; the tables in basecells.go are for this choice.
		near := -1
		for g := range faceCenters {
			if g != f && c.dot(faceCenters[g]) > 0.7 {
				near = g
				break
			}
		}
		n := faceCenters[near]
		u := n.sub(c.mul(n.dot(c))).mul(-1).unit()
		v := c.cross(u)
		frames[f] = faceFrame{C: c, u: u, v: v}
		for class := range 2 {
			x, y := u, v
			if class == 1 {
				x = u.mul(cosClassTurn).add(v.mul(sinClassTurn))
				y = v.mul(cosClassTurn).sub(u.mul(sinClassTurn))
			}
			b := y.mul(2 / math.Sqrt(3))
			a := x.add(b.mul(0.5))
			frames[f].A[class], frames[f].B[class] = a, b
			frames[f].P[class] = a.mul(2).sub(b)
			frames[f].R[class] = b.mul(2).sub(a)
		}
	}
	return frames
}

// nearestOf is nearestFace among some faces, which ascend.
func nearestOf(p vec, faces []uint8) int {
	best, at := -2.0, 0
	for _, f := range faces {
		if d := p.dot(faceFrames[f].C); d > best {
			best, at = d, int(f)
		}
	}
	return at
}

// nearestFace is the face whose centre is nearest to p, the first one on a tie.
func nearestFace(p vec) int {
	best, at := -2.0, 0
	for f := range faceCenters {
		if d := p.dot(faceCenters[f]); d > best {
			best, at = d, f
		}
	}
	return at
}

// faceClearance is a lower bound on the angle in radians that p can move in any
// direction and still have f as its nearest face.
func faceClearance(p vec, f int) float64 {
	least := math.Pi
	for g := range faceCenters {
		if g != f {
			least = min(least, p.dot(faceBorders[f][g]))
		}
	}
	return least
}

// faceBorders[f][g] points from the border between two faces towards f.
var faceBorders = buildFaceBorders()

func buildFaceBorders() (b [faceCount][faceCount]vec) {
	for f := range b {
		for g := range b {
			if g != f {
				b[f][g] = faceCenters[f].sub(faceCenters[g]).unit()
			}
		}
	}
	return b
}
