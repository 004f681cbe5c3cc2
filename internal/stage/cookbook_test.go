package stage

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"footfall/push/fake"
	"footfall/stream"
)

var (
	recipeHead = regexp.MustCompile(`(?m)^## (\d+)\. (.+)$`)
	recipeYAML = regexp.MustCompile("(?s)```yaml\n(.*?)```")
	recipeJSON = regexp.MustCompile("(?s)```json\n(.*?)```")
)

// act is one thing that a person does, at a time on the wall in Kyiv. do is come, stay or leave with the store, register
// with a JSON object, open, or an event and its category; decided waits until a campaign has decided about so many people, and
// counted until a journey has so many counts of a name.
type act struct{ at, who, do, what string }

// plays say what people do about each recipe, and what their phones show.
var plays = map[string]struct {
	acts  []act
	until string
	want  []string
}{
	"1": {
		acts: []act{
			{"11-28 09:30", "early", "come", "podil"}, {"11-28 10:02", "early", "stay", "podil"}, {"11-28 10:05", "olena", "come", "podil"}, {"11-28 12:00", "olena", "come", "podil"},
			{"11-28 15:00", "olena", "come", "obolon"}, {"11-28 20:59", "late", "come", "obolon"}, {"11-28 21:00", "closed", "come", "obolon"},
		},
		want: []string{"11-28 10:02 early: 18% off at Podil until 21:00", "11-28 10:05 olena: 18% off at Podil until 21:00", "11-28 20:59 late: 18% off at Obolon until 21:00"},
	},
	"2": {
		acts: []act{
			{"11-20 10:00", "olena", "register", `{"tags":{"city":"Kyiv"}}`}, {"11-20 10:00", "warsaw", "register", `{"tags":{"city":"Kyiv"},"zone":"Europe/Warsaw"}`},
			{"11-20 10:00", "lviv", "register", `{"tags":{"city":"Lviv"}}`},
			{"11-21 00:05", "invitation", "decided", "2"}, // when the day's time has come first anywhere
		},
		until: "11-21 18:00",
		want:  []string{"11-21 12:00 olena: Come on Saturday: we turn 18", "11-21 13:00 warsaw: Come on Saturday: we turn 18"},
	},
	"3": {
		acts: []act{
			{"11-27 17:50", "early", "come", "podil"}, {"11-27 23:30", "olena", "come", "podil"}, {"11-28 00:30", "olena", "come", "podil"},
			{"11-28 01:30", "night", "come", "podil"}, {"11-28 02:00", "closed", "come", "podil"}, {"11-28 18:30", "olena", "come", "podil"}, {"11-29 19:00", "sunday", "come", "podil"},
		},
		want: []string{"11-27 23:30 olena: Open until two: tea is on us", "11-28 01:30 night: Open until two: tea is on us", "11-28 18:30 olena: Open until two: tea is on us"},
	},
	"4": {
		acts: []act{
			{"11-20 12:00", "olena", "come", "podil"}, {"11-22 12:00", "olena", "come", "obolon"}, {"11-24 12:00", "olena", "come", "podil"}, {"11-26 12:00", "olena", "come", "podil"},
			{"11-26 13:00", "twice", "come", "podil"}, {"11-27 13:00", "twice", "come", "podil"},
		},
		want: []string{"11-24 12:00 olena: Third time: a coffee for you"},
	},
	"5": {
		acts: []act{
			{"11-28 09:40", "waits", "come", "podil"}, {"11-28 09:45", "goes", "come", "podil"}, {"11-28 09:55", "goes", "leave", "podil"}, {"11-28 12:00", "olena", "come", "podil"},
		},
		want: []string{"11-28 10:00 waits: We are open", "11-28 12:00 olena: We are open"},
	},
	"6": {
		acts: []act{
			{"11-28 12:00", "olena", "come", "podil"}, {"11-28 14:00", "olena", "come", "obolon"}, {"11-28 22:30", "night", "come", "obolon"}, {"11-29 12:00", "olena", "come", "obolon"},
		},
		want: []string{"11-28 12:00 olena: Phones today", "11-29 09:00 night: Something for everybody", "11-29 12:00 olena: Something for everybody"},
	},
	"7": {
		acts: []act{
			{"11-28 12:00", "p1", "come", "podil"}, {"11-28 12:00", "p2", "come", "podil"}, {"11-28 12:00", "p3", "come", "podil"},
			{"11-28 12:00", "p4", "come", "podil"}, {"11-28 12:00", "p5", "come", "podil"}, {"11-28 12:00", "p6", "come", "podil"}, {"11-29 12:00", "p1", "come", "podil"},
		},
		want: []string{"11-28 12:00 p2: 10% off today", "11-28 12:00 p4: 10% off today", "11-28 12:00 p5: 10% off today", "11-28 12:00 p6: 10% off today"},
	},
	"8": {
		acts: []act{
			{"11-28 11:00", "olena", "register", `{"tags":{"name":"Olena"}}`}, {"11-28 12:00", "olena", "come", "podil"}, {"11-28 12:00", "p2", "come", "podil"},
			{"11-28 12:00", "p3", "come", "podil"}, {"11-28 12:00", "p4", "come", "podil"},
		},
		want: []string{"11-28 12:00 olena: Olena, 10% off for you", "11-28 12:00 p2: 10% off today", "11-28 12:00 p3: 10% off today", "11-28 12:00 p4: Hello, 10% off for you"},
	},
	"9": {
		acts: []act{
			{"11-25 10:00", "p1", "product_view", "tea"}, {"11-25 10:00", "p2", "product_view", "tea"}, {"11-25 10:00", "p3", "product_view", "tea"}, {"11-25 10:00", "buys", "product_view", "tea"},
			{"11-25 18:00", "buys", "purchase", "tea"}, {"11-25 18:00", "p1", "purchase", "bread"}, {"11-25 15:00", "p4", "product_view", "fish"},
		},
		until: "11-28 12:00",
		want:  []string{"11-26 13:00 p1: 10% off tea today", "11-26 13:00 p2: 10% off tea today", "11-26 13:00 p3: 10% off tea today"},
	},
	"10": {
		acts: []act{
			{"11-28 10:00", "opens", "abandoned_basket", ""}, {"11-28 10:00", "closes", "abandoned_basket", ""}, {"11-28 10:10", "buys", "abandoned_basket", ""},
			{"11-28 10:20", "buys", "purchase", ""}, {"11-28 11:00", "opens", "open", ""},
		},
		until: "11-28 16:00",
		want: []string{
			"11-28 10:30 closes: Your basket is waiting", "11-28 10:30 opens: Your basket is waiting", "11-28 14:30 closes: Your basket, 5% off until tonight",
		},
	},
	"11": {
		acts: []act{
			{"11-28 10:00", "olena", "reserved", "phones"}, {"11-28 10:00", "unknown", "reserved", "tablets"}, {"11-28 10:00", "p1", "reserved", "cases"},
			{"11-28 10:00", "put-aside", "counted", "step.tell.delivered 1"}, {"11-28 10:00", "put-aside", "counted", "step.tell.failed 1"},
		},
		until: "11-28 10:20",
		want:  []string{"11-28 10:00 olena: Your phones wait at the till", "11-28 10:00 unknown: Please ask at the till"},
	},
	"12": {
		acts: []act{
			{"11-27 15:00", "olena", "register", `{"tags":{"loyalty":"silver"}}`}, {"11-27 15:00", "p1", "register", `{"tags":{"loyalty":"silver"}}`},
			{"11-27 16:00", "olena", "register", `{"tags":{"loyalty":"gold"}}`}, {"11-27 16:00", "welcome-to-the-club", "counted", "entered 1"},
		},
		until: "11-28 11:00",
		want:  []string{"11-28 10:00 olena: Welcome to the club"},
	},
	"13": {
		acts: []act{
			{"11-28 12:00", "olena", "come", "podil"}, {"11-28 12:30", "olena", "leave", "podil"}, {"11-28 12:35", "olena", "stay", "podil"},
			{"11-28 13:00", "olena", "leave", "podil"}, {"11-28 13:09", "olena", "leave", "podil"}, {"11-28 13:10", "olena", "leave", "podil"},
		},
		until: "11-28 14:00",
		want:  []string{"11-28 13:10 olena: Thank you for coming"},
	},
}

// TestCookbook: every recipe of the cookbook does what its text says, through the whole gateway.
func TestCookbook(t *testing.T) {
	if testing.Short() {
		t.Skip("plays all recipes")
	}
	page, err := os.ReadFile("../../docs/cookbook.md")
	if err != nil {
		t.Fatal(err)
	}
	stores, err := os.ReadFile("../../examples/stores.geojson")
	if err != nil {
		t.Fatal(err)
	}
	heads := recipeHead.FindAllSubmatchIndex(page, -1)
	if len(heads) != len(plays) {
		t.Fatalf("%d recipes, and people play %d", len(heads), len(plays))
	}
	for i, h := range heads {
		end := len(page)
		if i+1 < len(heads) {
			end = heads[i+1][0]
		}
		n := string(page[h[2]:h[3]])
		files := recipeYAML.FindAllSubmatch(page[h[1]:end], -1)
		if len(files) != 1 {
			t.Errorf("recipe %s has %d files", n, len(files))
			continue
		}
		fences := stores
		if own := recipeJSON.FindSubmatch(page[h[1]:end]); own != nil {
			fences = own[1]
		}
		t.Run(n+" "+string(page[h[4]:h[5]]), func(t *testing.T) {
			t.Parallel()
			playRecipe(t, n, string(files[0][1]), fences)
		})
	}
}

func playRecipe(t *testing.T, n, text string, stores []byte) {
	play, ok := plays[n]
	if !ok || len(play.acts) == 0 {
		t.Fatal("nobody plays the recipe")
	}
	kyiv, err := time.LoadLocation("Europe/Kyiv")
	if err != nil {
		t.Fatal(err)
	}
	parse := func(text string) time.Time {
		at, err := time.ParseInLocation("2006-01-02 15:04", "2026-"+text, kyiv)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	acts := slices.Clone(play.acts)
	slices.SortStableFunc(acts, func(a, b act) int { return strings.Compare(a.at, b.at) })
	var clock Clock
	clock.Forward(parse(acts[0].at).Add(-time.Hour))
	ph, err := StartPhones(clock.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ph.Close() }()
	var mu sync.Mutex
	var shown []fake.Shown
	ph.Book.OnShow(func(s fake.Shown) {
		mu.Lock()
		defer mu.Unlock()
		shown = append(shown, s)
	})
	set := ph.Settings(t.TempDir())
	till := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if body, err := io.ReadAll(r.Body); err != nil || strings.Contains(string(body), "unknown") {
			w.WriteHeader(http.StatusUnprocessableEntity)
		}
	}))
	defer till.Close()
	set.Fences, set.Campaigns, set.Webhooks = stores, text, []string{till.URL + "/till"}
	g, err := Open(set, &clock)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	}()
	p, err := Attach(g)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	names := map[string]string{} // token -> who
	message := func(class, who string, v any) []Message {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return []Message{{Subject: class + ".shop." + who, Payload: data}}
	}
	do := func(now time.Time, ms []Message) {
		t.Helper()
		if err := p.Play(now, ms); err != nil {
			t.Fatal(err)
		}
	}
	register := func(now time.Time, who, more string) {
		t.Helper()
		v := map[string]any{"platform": "ios", "token": fake.DeviceToken(who), "locale": "en"}
		if err := json.Unmarshal([]byte(more), &v); err != nil {
			t.Fatal(err)
		}
		names[fake.DeviceToken(who)] = who
		do(now, message("device", who, v))
	}
	// The clock goes on in steps of five minutes, so that waits end when they should.
	walk := func(to time.Time) {
		for now := clock.Now(); now.Before(to); {
			if now = now.Add(5 * time.Minute).Truncate(5 * time.Minute); now.After(to) {
				now = to
			}
			do(now, nil)
		}
	}
	places := map[string][2]float64{"podil": {50.4655, 30.5152}, "obolon": {50.5120, 30.4985}}
	for i, a := range acts {
		now := parse(a.at)
		walk(now)
		if a.do == "decided" {
			await(t, a.what, func() any { return g.Status().Funnel[a.who]["claimed"] })
			continue
		}
		if a.do == "counted" {
			name, n, _ := strings.Cut(a.what, " ")
			await(t, n, func() any {
				v, err := g.ShowJourney(t.Context(), stream.JourneyRequest{Journey: a.who})
				if err != nil {
					t.Fatal(err)
				}
				return v.Counts[name]
			})
			do(now, nil) // and what came of it
			continue
		}
		if _, known := names[fake.DeviceToken(a.who)]; !known && a.do != "register" {
			register(now, a.who, "{}")
		}
		fix := func(at time.Time, north float64) map[string]any {
			place := places[a.what]
			return map[string]any{"t": at.UnixMilli(), "lat": place[0] + north, "lon": place[1], "acc": 8, "src": "foreground"}
		}
		switch a.do {
		case "register":
			register(now, a.who, a.what)
		case "come": // from 450 m away, so that an earlier visit has ended
			do(now, message("ping", a.who, []any{fix(now.Add(-2*time.Minute), 0.004), fix(now, 0)}))
		case "stay":
			do(now, message("ping", a.who, fix(now, 0)))
		case "leave":
			do(now, message("ping", a.who, fix(now, 0.004)))
		case "open":
			mu.Lock()
			var last fake.Shown
			for _, s := range shown {
				if names[s.Token] == a.who {
					last = s
				}
			}
			mu.Unlock()
			do(now, message("receipt", a.who, map[string]any{"mid": last.MID, "k": last.Key, "ev": "opened", "t": now.UnixMilli()}))
		default:
			do(now, message("event", a.who, map[string]any{"name": a.do, "id": fmt.Sprint(i), "t": now.UnixMilli(), "props": map[string]any{"category": a.what}}))
		}
	}
	until := clock.Now().Add(13 * time.Hour)
	if play.until != "" {
		until = parse(play.until)
	}
	walk(until)
	mu.Lock()
	defer mu.Unlock()
	var got []string
	for _, s := range shown {
		got = append(got, fmt.Sprintf("%s %s: %s", s.At.In(kyiv).Format("01-02 15:04"), names[s.Token], s.Body))
	}
	slices.Sort(got)
	if d := cmp.Diff(play.want, got); d != "" {
		t.Errorf("phones show (-want +got):\n%s", d)
	}
}

// await waits until a count is there.
func await(t *testing.T, want string, count func() any) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); fmt.Sprint(count()) != want; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("counted %v, want %s", count(), want)
		}
	}
}
