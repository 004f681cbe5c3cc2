package fences

// CodeInfo documents one kind of finding.
type CodeInfo struct {
	Code     string
	Severity Severity
	Title    string // what is found
	Advice   string // what to do about it
	Fixable  bool   // findings of this kind may carry a Fix
}

// Codes of findings. A code keeps its meaning for ever; new ones take new numbers.
const (
	codeSyntax      = "E01"
	codeNotGeoJSON  = "E02"
	codeID          = "E03"
	codeGeometry    = "E04"
	codeCoordinate  = "E05"
	codeUnclosed    = "E06"
	codeCrossing    = "E07"
	codeRadius      = "E08"
	codeTooLarge    = "E09"
	codeDegenerate  = "E10"
	codeHole        = "E11"
	codeProperty    = "E12"
	codePole        = "E13"
	codeCRS         = "E14"
	codeTwice       = "E15"
	codeUnreadable  = "E16"
	codeEmpty       = "E17"
	codeWinding     = "W01"
	codeSwapped     = "W02"
	codeOverlap     = "W03"
	codeInUse       = "W04"
	codeSmall       = "W05"
	codeDateLine    = "W06"
	codeDecimals    = "W07"
	codeNullIsland  = "W08"
	codeCRSMember   = "W09"
	codeTouch       = "W10"
	codeRepeated    = "W11"
	codeSamePlace   = "W12"
	codeTwiceKept   = "W13"
	codeBBox        = "W14"
	codeNotUsed     = "W15"
	codeParts       = "W16"
	codeForeignForm = "I01"
	codeNearMiss    = "I02"
	codeBOM         = "I03"
	codeCRLF        = "I04"
	codeAltitude    = "I05"
	codeMore        = "I06"
)

// Codes lists every kind of finding there is, in the order of their codes. It
// is the source of the documentation. Severity is the usual one: a finding with
// Skipped set is a warning whatever its code, W10 and W16 are errors under
// Options.OGC, and E17 is a warning for a file in a folder where other files
// have fences.
var Codes = []CodeInfo{
	{codeSyntax, SeverityError, "the text is not JSON", "correct it at the place named; a comma, quote or bracket is usually missing or too many", true},
	{codeNotGeoJSON, SeverityError, "not a Feature or FeatureCollection", `wrap a bare geometry as {"type":"Feature","id":…,"properties":{…},"geometry":…}`, true},
	{codeID, SeverityError, "a fence has no id, one that cannot be used, or one that another fence has", "give every feature its own id; presence and claims are kept under it", true},
	{codeGeometry, SeverityError, "the geometry is missing, empty or of a type that is no area", "use a Point with a radius, a Polygon or a MultiPolygon", false},
	{codeCoordinate, SeverityError, "a coordinate is not a number or out of range", "write positions as [longitude, latitude] in degrees", true},
	{codeUnclosed, SeverityError, "a ring is not closed", "repeat the first position at the end", true},
	{codeCrossing, SeverityError, "a ring crosses itself", "move the vertices around the point named", false},
	{codeRadius, SeverityError, "a radius is missing, not a number or out of range", `give the circle "radius" in metres, or set a default radius`, true},
	{codeTooLarge, SeverityError, "a fence or document is larger than the configured limit", "split or simplify it, or raise the limit", false},
	{codeDegenerate, SeverityError, "a ring has too few positions or encloses no area", "a ring needs at least three different corners and the first repeated", false},
	{codeHole, SeverityError, "a hole lies outside its area, crosses it or another hole, or fills it", "holes must lie inside the first ring and apart from each other", false},
	{codeProperty, SeverityError, "a property that Footfall uses has a value it cannot use", "see the message for what is accepted", true},
	{codePole, SeverityError, "a polygon contains a pole", "use a circle, or cut the polygon along a meridian below the pole", false},
	{codeCRS, SeverityError, "the coordinates are in another reference system", "convert them to WGS84 longitude and latitude (EPSG:4326)", false},
	{codeTwice, SeverityError, "a member occurs twice where its value matters", "remove one of the two; readers disagree which one counts", false},
	{codeUnreadable, SeverityError, "a file cannot be read", "see the message", false},
	{codeEmpty, SeverityError, "there is no fence", "an empty set would silence every campaign; to stop sending, pause the campaigns", false},
	{codeWinding, SeverityWarning, "a ring runs the wrong way round", "outer rings run counterclockwise, holes clockwise (RFC 7946); it makes no difference here", true},
	{codeSwapped, SeverityWarning, "latitude and longitude are probably swapped", "GeoJSON positions are [longitude, latitude]", true},
	{codeOverlap, SeverityWarning, "two fences overlap", "a device in both gets one push per campaign; set priority to say which fence wins", false},
	{codeInUse, SeverityWarning, "a removed fence is used by a live campaign", "reported when a set is published, not by the check of a text", false},
	{codeSmall, SeverityWarning, "a radius is below 100 m", "the fixes of phones are often worse than that; prefer 100 m or more", false},
	{codeDateLine, SeverityWarning, "a ring crosses longitude ±180 in one piece", "cut it into a MultiPolygon at ±180 (RFC 7946 section 3.1.9) so that other programs agree", false},
	{codeDecimals, SeverityWarning, "coordinates have more than 7 decimals", "7 decimals are 1 cm; round them", true},
	{codeNullIsland, SeverityWarning, "the position is [0, 0]", "this is what a failed address lookup leaves; fixes at [0, 0] are refused, so the fence will never be entered", false},
	{codeCRSMember, SeverityWarning, `a "crs" member, which RFC 7946 has removed`, "remove it; coordinates are WGS84 anyway", true},
	{codeTouch, SeverityWarning, "a ring touches itself", "legal for us, not in the OGC rule that other programs follow; move the vertex aside", false},
	{codeRepeated, SeverityWarning, "the same position twice in a row", "remove the second one", true},
	{codeSamePlace, SeverityWarning, "several fences at one position", "a device there is in all of them; keep one, or give them priorities", false},
	{codeTwiceKept, SeverityWarning, "a member occurs twice in a property that is only kept", "remove one of the two; readers disagree which one counts", false},
	{codeBBox, SeverityWarning, `a "bbox" that is not 4 or 6 numbers`, "remove it; Footfall does not use it", false},
	{codeNotUsed, SeverityWarning, "a property looks like one that Footfall uses but means something else", "it is kept and not used; rename it, or correct its value", false},
	{codeParts, SeverityWarning, "parts of a MultiPolygon overlap", "legal for us (the area is their union), not in the OGC rule; merge the parts", false},
	{codeForeignForm, SeverityInfo, "a circle in the form of another program", "it is read as the circle it means; the fix rewrites it", true},
	{codeNearMiss, SeverityInfo, "a property's name is close to one that Footfall uses", "it is kept and not used; rename it if that one was meant", true},
	{codeBOM, SeverityInfo, "the file starts with a byte order mark", "save it as UTF-8 without BOM", true},
	{codeCRLF, SeverityInfo, "lines end in CR LF", "nothing needs doing; columns count without the CR", false},
	{codeAltitude, SeverityInfo, "positions have a third value", "an altitude is kept in the text and not used", false},
	{codeMore, SeverityInfo, "there are more findings than are listed", "correct these first", false},
}

// codeIndex finds a code's description.
var codeIndex = func() map[string]*CodeInfo {
	m := make(map[string]*CodeInfo, len(Codes))
	for i := range Codes {
		m[Codes[i].Code] = &Codes[i]
	}
	return m
}()
