package wire

// HereAll is where devices say that they are connected and can show messages, each on here.<app>.<device>. Nothing of it is stored,
// and whatever the payload holds is ignored.
const HereAll = "here.*.*"

// HereReply is the answer: N messages wait, or are on their way, and come on down.<app>.<device> now; 256 means as many or more.
type HereReply struct {
	OK bool `json:"ok"`
	N  int  `json:"n"`
}
