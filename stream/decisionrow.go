package stream

import (
	"encoding/json"
	"fmt"

	"github.com/klauspost/compress/s2"
)

// A decision is kept as JSON, compressed with a dictionary of what most decisions say. It is the largest row of an entry by far, and
// nearly all of it is what checks have in common: with one campaign 311 bytes instead of 2,136, which the ledger does not copy, sync and
// merge. TestDecisionRows compares it with the plain row.
//
// Rows of version 1 are plain JSON; a row tells by its first byte.
const decisionPacked = 0x01 // the number of the dictionary, too: one that changes gets a number of its own

// decisionWords is the dictionary: what decisions say, the usual last, as a search finds it. It is part of the format of rows and must
// never change: TestDecisionRowOfOld has a row of it.
const decisionWords = `{"check":"campaign_began","dwell","crossed","exit","outcome":"hold","reason":"held_out","rule":"holdout","ok":false,"rule":"variant",` +
	`"rule":"caps","rule":"quiet","rule":"audience","detail":"the campaign is paused","the position is marked as simulated","no token",` +
	`"outcome":"drop","reason":"already_claimed","detail":"another entry has it","reason":"stale","reason":"outside_window","reason":"no_consent",` +
	`"reason":"no_token","reason":["initial","resumed","fence_created","fence_changed","device","stale","skewed","inferred"],` +
	`"skewed":true,"source":"os_enter","source":"os_exit","devices":2,"send_at":17,"variant":"A","call":"",` +
	`"}],"claim":"\u0004welcome\u0000\u00012026-11-28\u0000\u0001\u0000\u0001p:` +
	`{"id":"","device":"shop.","kind":"enter","fence":"","fence_name":"","store":"","zone":"Europe/Kyiv","at":17,"confirmed_at":17` +
	`,"entered_at":17,"received_at":17,"reason":[],"confidence":3,"fix":{"source":"stream","accuracy_m":12,"speed_mps":0` +
	`,"cell":"891e","verdict":"accepted"},"edge_m":-1,"center_m":1,"radius_m":200,"candidates":[{"fence":"","center_m":0,"edge_m":-200` +
	`,"inside":true},{"fence":"","center_m":1,"edge_m":1,"inside":false}],"campaigns":[{"campaign":"","revision":""` +
	`,"outcome":"propose","reason":"eligible","checks":[{"rule":"trigger","ok":true,"detail":"enter at ; the campaign waits for enter of any fence"}` +
	`,{"rule":"enabled","ok":true,"detail":"the campaign is enabled"},{"rule":"paused","ok":true,"detail":"the campaign is running"}` +
	`,{"rule":"trusted","ok":true,"detail":"the position is not marked as simulated"}` +
	`,{"rule":"fence_edit","ok":true,"detail":"the device moved, not the fence"},{"rule":"initial","ok":true,"detail":"not the first position"}` +
	`,{"rule":"confidence","ok":true,"detail":"confidence 3 of 3, at least 0 is asked for; -1 m from the edge, accuracy 1 m"}` +
	`,{"rule":"window","ok":true,"detail":"it was Sat 2026-11-28 12:00:00 +02:00 (Europe/Kyiv); open from 2026-11-28T10:00:00` +
	`, to 2026-12-24T21:00:00, 10:00-21:00, store time"},{"rule":"fresh","ok":true,"detail":"the fix was 0s old on arrival; at most 10m0s"}` +
	`,{"rule":"ttl","ok":true,"detail":"worth showing for 15m0s, until 2026-11-28T12:15:00+02:00; arrived 2026-11-28T12:00:00+02:00"}` +
	`,{"rule":"consent","ok":true,"detail":"push: not said, so allowed, location: not said, so allowed"}` +
	`,{"rule":"token","ok":true,"detail":"a token for ios since 2026-11-28T10:00:00Z"}` +
	`,{"rule":"claim","ok":true,"detail":"once a day of the store, period 2026-11-28, for p:` +
	`; the ledger settles who gets it"},{"rule":"settled","ok":true,"detail":"first of its period"}],"claim":"","mid":"","expires_at":17`

var decisionDict = s2.MakeDict([]byte(decisionWords), []byte(`{"id":"","device":"`))

// packDecision appends the row of a decision, given its JSON.
func packDecision(dst, text []byte) []byte {
	dst = append(dst, decisionPacked)
	room := len(dst) + s2.MaxEncodedLen(len(text))
	if cap(dst) < room {
		dst = append(make([]byte, 0, room), dst...)
	}
	n := len(decisionDict.Encode(dst[len(dst):cap(dst)], text))
	return dst[:len(dst)+n]
}

// unpackDecision decodes a row.
func unpackDecision(row []byte) (d Decision, err error) {
	if len(row) > 0 && row[0] == decisionPacked {
		if row, err = decisionDict.Decode(nil, row[1:]); err != nil {
			return d, fmt.Errorf("unpack: %w", err)
		}
	}
	err = json.Unmarshal(row, &d)
	return d, err
}
