package citrus

// Opened and Purchased are how many of the 2,600 people open their notice, and how many of these buy.
const (
	Opened    = 976
	Purchased = 924
)

// Reports says what comes of each person's notice, by index in People; people without one are not in it. Every phone
// reports its notice as delivered. Who opens it and who buys is spread evenly over the groups.
func (d *Day) Reports() map[int]Report {
	out := map[int]Report{}
	n := 0
	for i := range d.People {
		if d.People[i].Want.Notices() == 0 {
			continue
		}
		place := n * 1009 % 2600 // 1009 and 2600 have no common divisor: each place once
		out[i] = Report{Opens: place < Opened, Buys: place < Purchased}
		n++
	}
	return out
}

// Report is what one person does about their notice. Who buys has opened it, and shows its code at the till.
type Report struct{ Opens, Buys bool }
