package track

// Withdraw forgets what is known of a device, and takes its inputs as NoConsent from pos, a position in its log, on: until
// Readmit. It makes no transition: nobody has seen the device leave. It reports whether that is a change; false, and nothing
// changes, for a device that is withdrawn already or has applied a later position. A device that is not known is withdrawn too.
//
// It is part of the log's input like a ping, so a log that is read again comes to the same: Encode has it in the row.
func (t *Tracker) Withdraw(id DeviceID, pos uint64) bool { return t.withdraw(id, pos, true) }

// Readmit ends Withdraw: the device is one that has never been seen. It reports whether that is a change.
func (t *Tracker) Readmit(id DeviceID, pos uint64) bool { return t.withdraw(id, pos, false) }

func (t *Tracker) withdraw(id DeviceID, pos uint64, withdrawn bool) bool {
	if len(id) == 0 || len(id) > MaxDeviceIDLen {
		return false
	}
	d := &t.state
	i, known := t.table.findID(id)
	switch {
	case known:
		if t.table.load(i, d); pos < d.pos || d.withdrawn == withdrawn {
			return false
		}
	case !withdrawn:
		return false
	default:
		i = t.table.insert(id)
	}
	*d = state{pos: pos, posLag: noPosition, withdrawn: withdrawn, visits: d.visits[:0]}
	t.table.save(i, d, true)
	return true
}

// Withdrawn reports whether a row that Encode gave is of a device that is withdrawn.
func Withdrawn(row []byte) bool { return len(row) > 1 && row[1]&rowWithdrawn != 0 }
