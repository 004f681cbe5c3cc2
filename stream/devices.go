package stream

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"footfall/audience"
	"footfall/campaign"
	"footfall/outbox"
	"footfall/track"
)

// Which of a person's devices a push goes to. A device alone, or the only one of its person, has no choice. Else, among the
// person's devices of the same app:
//
//	last_active   the one that it came from, which has just been heard of, when a push can reach it; else, of those that one
//	              can reach, the one that was heard of last
//	all           that one first, then all others that a push can reach and that fit the audience, up to outbox.MaxCopies
//
// What a person has refused on the device that something came from is refused, wherever else it could be sent.

// heardOf is a device that a push may go to, through a lane.
type heardOf struct {
	audience.Profile
	lane string
}

// others reads the person's other devices of the app, the one heard of last first. It reads once.
func (q *inquiry) others() ([]audience.Profile, error) {
	if q.profile.Person == "" || q.haveOthers {
		return q.otherDevices, nil
	}
	ids, err := audience.DevicesOf(q.tx, q.profile.Person)
	if err != nil {
		return nil, err
	}
	app := appOf(q.in.device)
	for _, id := range ids {
		if id == q.profile.Device || appOf(track.DeviceID(id)) != app {
			continue
		}
		p, found, err := audience.Get(q.tx, id)
		if err != nil {
			return nil, err
		}
		if found {
			q.otherDevices = append(q.otherDevices, p)
		}
	}
	slices.SortFunc(q.otherDevices, func(a, b audience.Profile) int {
		return cmp.Or(cmp.Compare(b.UpdatedAt, a.UpdatedAt), strings.Compare(a.Device, b.Device))
	})
	q.haveOthers = true
	return q.otherDevices, nil
}

// instead finds the device that a push goes to when it cannot go to the one that it came from; nil: none.
func (q *inquiry) instead(c *campaign.Campaign) (*audience.Profile, error) {
	if q.profile.Reachable() || c.Push.InApp == campaign.InAppOnly {
		return nil, nil
	}
	others, err := q.others()
	for i := range others {
		if p := &others[i]; p.Reachable() && q.mayGoTo(c, p) == "" {
			return p, err
		}
	}
	return nil, err
}

// mayGoTo says why a campaign's push does not go to another device of the person; "" when it may.
func (q *inquiry) mayGoTo(c *campaign.Campaign, p *audience.Profile) (why string) {
	switch inApp := c.Push.InsideApp(p); {
	case p.TokenDead && !inApp:
		return "the token is dead"
	case !p.Reachable() && !inApp:
		return "no token"
	case !p.MayPush():
		return "opted out"
	}
	if c.Audience != nil {
		if fits, _ := c.Audience.Match(audience.Person{Profile: p, Events: q.past.events, Visits: q.past.visits}, q.in.receivedAt); !fits {
			return "not in the audience"
		}
	}
	return ""
}

// choose lists the devices that a push goes to, to being the first, and says why. The check has no rule when there was
// nothing to choose. It names no device: a decision is kept under the one that it came from, and each may be forgotten alone.
func (q *inquiry) choose(c *campaign.Campaign, to *audience.Profile, lane string) (list []heardOf, check campaign.Check, err error) {
	list = []heardOf{{*to, lane}}
	others, err := q.others()
	if err != nil || len(others) == 0 {
		return list, check, err
	}
	check = campaign.Check{Rule: "device", OK: true}
	why := "the one that it came from"
	switch {
	case to.Device != q.profile.Device:
		why = fmt.Sprintf("the %s one, heard of last on %s, because the one that it came from cannot be pushed to",
			to.Platform, time.UnixMilli(to.UpdatedAt).UTC().Format("2006-01-02 15:04 MST"))
	case c.Trigger.Schedule != nil:
		why = "the one heard of last of those that can be pushed to"
	}
	if !c.Push.AllDevices {
		check.Detail = fmt.Sprintf("last active of the person's %d: %s", 1+len(others), why)
		return list, check, nil
	}
	left := map[string]int{}
	if to.Device != q.profile.Device {
		left["no token"]++
	}
	for i := range others {
		p := &others[i]
		if p.Device == to.Device {
			continue
		}
		why := q.mayGoTo(c, p)
		lane, noLane := q.lane(c, p)
		switch {
		case why == "" && lane == "":
			why = noLane
		case why == "" && len(list) == outbox.MaxCopies:
			why = fmt.Sprintf("more than %d", outbox.MaxCopies)
		}
		if why != "" {
			left[why]++
			continue
		}
		list = append(list, heardOf{*p, lane})
	}
	check.Detail = fmt.Sprintf("all: %d of the person's %d", len(list), 1+len(others))
	for _, why := range slices.Sorted(maps.Keys(left)) {
		check.Detail += fmt.Sprintf("; %d not: %s", left[why], why)
	}
	return list, check, nil
}
