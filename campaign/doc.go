// Package campaign says who gets which push, where and when: the model and its
// YAML form ([Parse]), schedule windows ([Window]), templates ([Campaign.Render])
// and [Campaign.Decide], the one pure function that both the hot path and
// explain use. Nothing here reads a clock, and only [Load] reads a disk (but for
// the time zone database, each zone once).
//
// # A campaign file
//
//	campaign: kyiv-18th-anniversary      # [A-Za-z0-9_-], 1 to 64; claims are kept under it
//	name: Our 18th birthday              # for people
//	enabled: true                        # false: never decides for anyone
//	paused: false                        # true: holds everyone for now
//	zone: Europe/Kyiv                    # only for "day: campaign"
//	trigger:
//	  enter:                             # enter, exit, dwell; or schedule, see Schedule
//	    fences: {tag: kyiv}              # id, ids, tag, tags (any of them), or all: true
//	    initial: true                    # a first position already inside counts (default)
//	    edits: false                     # a fence drawn around a person does not (default)
//	    crossed: false                   # enter only: passing through between two fixes counts too
//	    min_confidence: 0                # 0 to 3, see track.Transition
//	    visits: 3                        # the third visit only; or {min, max, every, within}
//	window:
//	  from: 2026-11-28T10:00             # half-open: from is in, to is out
//	  to:   2026-11-28T21:00             # optional, and so is from
//	  zone: store                        # or an IANA name
//	  days: [sat]                        # mon to sun, ranges such as mon-fri
//	  hours: "10:00-21:00"               # or a list; 22:00-06:00 belongs to the day on which it opens
//	  closed: drop                       # or hold, or notify_if_inside
//	  hold_for: 24h                      # how long a push waits for the next opening
//	audience: 'tags.loyalty == "gold"'   # see audience.Rule
//	once_per: {day: store, starts: "04:00"}  # or {rolling: PT24H}, campaign, none
//	scope: campaign                      # or fence, store, or {group: [north, south]}
//	caps:
//	  - {max: 2, per: 7d, of: all}       # of every campaign; per: day and per: campaign as well
//	quiet: {hours: "22:00-09:00", zone: device, closed: hold}
//	holdout: 10%                         # of the people get nothing, and are counted
//	max_age: 10m                         # older positions count as visits but push nothing
//	steps:
//	  - push: {template: anniversary, ttl: 15m, variants: {A: 50%, B: 50%}}
//	templates:
//	  anniversary: …                     # see Template
//
// Only campaign, trigger and steps are required. [Campaign.Warnings] asks for
// an end, or for the word that there is none (to: never); a gateway runs the
// campaign all the same. Durations are written 15m, 24h, 7d or PT15M, P7D.
//
// A file may hold several documents. Everything that is wrong is reported at
// once, with file, line and column ([Error]); keys of later versions are
// refused by name rather than ignored, because a cap that is not applied is
// worse than a campaign that does not load.
//
// # Which time decides what
//
// The event time (track.Transition.At, from the phone) decides window and
// claim period, so a late upload is judged by when the person was there. The
// age of the fix on arrival (Input.Now less Fix.FixedAt) decides freshness, and
// quiet hours look at when the push would leave.
//
// # What is remembered
//
// Decide gets what the ledger knows of the subject with its input: pushes for
// caps, visits for the n-th visit ([Campaign.Needs]). Who is in the holdout and
// in which variant is drawn from the campaign's and the subject's id, and
// stored nowhere.
package campaign
