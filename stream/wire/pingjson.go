package wire

// json decodes the whole payload; false: d.fail says why it is refused.
func (d *decoder) json() bool {
	switch d.peek() {
	case '{':
		if !d.record() {
			return false
		}
	case '[':
		if !d.enter() {
			return false
		}
		for first := true; d.more(first, ']'); first = false {
			if d.n == MaxPings {
				d.fail = errTooMany
				return false
			}
			if !d.record() {
				return false
			}
		}
		if d.fail != nil {
			return false
		}
	default:
		return d.bad()
	}
	return d.end()
}

// record decodes one element. What is not an object is refused alone, like any other bad record.
func (d *decoder) record() bool {
	var f fields
	if d.peek() != '{' {
		if !d.skip() {
			return false
		}
		f.refuse(CodeBadType, "the record is not a JSON object")
	} else if d.mode == modeOwnTracks {
		return d.ownTracksRecord()
	} else if !d.pingObject(&f) {
		return false
	}
	d.take(&f)
	return true
}

func (d *decoder) pingObject(f *fields) bool {
	if !d.enter() {
		return false
	}
	for first := true; d.more(first, '}'); first = false {
		key, ok := d.key()
		if !ok {
			return false
		}
		switch string(key) {
		case "t":
			ok = d.number(f, fT, &f.t, "t must be a number")
		case "lat":
			ok = d.number(f, fLat, &f.lat, "lat must be a number")
		case "lon":
			ok = d.number(f, fLon, &f.lon, "lon must be a number")
		case "acc":
			ok = d.number(f, fAcc, &f.acc, "acc must be a number")
		case "spd":
			ok = d.number(f, fSpd, &f.spd, "spd must be a number")
		case "crs":
			ok = d.number(f, fCrs, &f.crs, "crs must be a number")
		case "alt":
			ok = d.number(f, fAlt, &f.alt, "alt must be a number")
		case "age_ms":
			ok = d.number(f, fAge, &f.age, "age_ms must be a number")
		case "mock":
			ok = d.boolean(f, fMock, &f.mock, "mock must be true or false")
		case "src":
			var name []byte
			if ok = d.text(f, fSrc, &name, "src must be text"); ok && f.code == "" {
				if f.src, ok = sourceOf(name); !ok {
					f.refuse(CodeBadSource, reasonSource)
					ok = true
				}
			}
		case "fence":
			ok = d.text(f, fFence, &f.fence, "fence must be text")
		case "device":
			if d.mode == modeFeed {
				ok = d.text(f, fDevice, &f.device, "device must be text")
			} else {
				ok = d.skip() // the subject names the device
			}
		default:
			ok = d.skip()
		}
		if !ok {
			return false
		}
	}
	return d.fail == nil
}

// once notes that the field occurs and refuses a second occurrence.
func (f *fields) once(bit uint32) {
	if f.seen&bit != 0 {
		f.refuse(CodeDuplicateField, "a field occurs twice")
	}
	f.seen |= bit
}

// number reads a member's value into *v. A value of another type refuses the record, not the payload.
func (d *decoder) number(f *fields, bit uint32, v *float64, reason string) (ok bool) {
	f.once(bit)
	if c := d.peek(); c != '-' && (c < '0' || c > '9') {
		f.refuse(CodeBadType, reason)
		return d.skip()
	}
	*v, ok = d.num()
	return ok
}

func (d *decoder) boolean(f *fields, bit uint32, v *bool, reason string) bool {
	f.once(bit)
	switch d.peek() {
	case 't':
		*v = true
		return d.word("true")
	case 'f':
		*v = false
		return d.word("false")
	}
	f.refuse(CodeBadType, reason)
	return d.skip()
}

// text reads a string: a view into the payload, or a copy when it had escapes.
func (d *decoder) text(f *fields, bit uint32, v *[]byte, reason string) bool {
	f.once(bit)
	if d.peek() != '"' {
		f.refuse(CodeBadType, reason)
		return d.skip()
	}
	raw, plain, ok := d.str()
	if !ok {
		return false
	}
	if plain {
		*v = raw[1 : len(raw)-1]
	} else {
		*v = unquote(raw)
	}
	return true
}
