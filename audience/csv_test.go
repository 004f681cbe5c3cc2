package audience

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadCSV(t *testing.T) {
	rows, err := ReadCSV(strings.NewReader("\ufeffdevice,user,consent.push,tags.name,tags.age:integer,tags.spent:price,tags.vip:boolean,tags.born:date,tags.app:version,tags.groups:list\n" +
		"4f2a,1001,true,\"Олена, К.\",42,129.90,true,1984-03-05,2.10.1,press|vip\n" +
		"77b0,null,null,null,,,,,,\n"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range rows {
		got = append(got, fmt.Sprintf("%d %s %s", r.Line, r.Device, r.Patch))
	}
	want := []string{
		`2 4f2a {"consent":{"push":true},"tags":{"age":42,"app":"2.10.1","born":"1984-03-05","groups":["press","vip"],"name":"Олена, К.","spent":129.9,"vip":true},"user":"1001"}`,
		`3 77b0 {"consent":{"push":null},"tags":{"name":null},"user":null}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestReadCSVRefuses(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", "line 1: the file is empty"},
		{"no device", "user\n1\n", "line 1: there is no column device"},
		{"semicolons", "device;user\n", "line 1: columns are divided by semicolons; divide them by commas (a spreadsheet exports that as CSV UTF-8, comma delimited)"},
		{"a misspelt column", "device,usr\n", `line 1, column 2: no such column: "usr"`},
		{"a column twice", "device,tags.a,tags.a:integer\n", `line 1, column 3: column "tags.a:integer" a second time`},
		{"a type that is not one", "device,tags.a:int\n", `line 1, column 2: "int" is not a type of tag; there are string, integer, price, boolean, date, version, list`},
		{"too few cells", "device,tags.a\nd1\n", "line 2: wrong number of fields"},
		{"an open quote", "device,tags.a\nd1,\"x\n", "line 2"},
		{"a device with a dot", "device\nshop.d1\n", `line 2, column 1: "shop.d1" cannot be a device`},
		{"a device twice", "device\nd1\nd2\nd1\n", "line 4, column 1: device d1 a second time; the first is in line 2"},
		{"integer", "device,tags.a:integer\nd1,4.5\n", `line 2, column 2: a: "4.5" is not a whole number`},
		{"integer that a number cannot hold", "device,tags.a:integer\nd1,9007199254740993\n", "is not a whole number"},
		{"price", "device,tags.a:price\nd1,\"12,50\"\n", `is not a price such as`},
		{"negative price", "device,tags.a:price\nd1,-1\n", `is not a price such as`},
		{"boolean", "device,tags.a:boolean\nd1,yes\n", `is not true or false`},
		{"date", "device,tags.a:date\nd1,05.03.1984\n", `is not a date such as`},
		{"date that is none", "device,tags.a:date\nd1,2026-02-30\n", `is not a date such as`},
		{"version", "device,tags.a:version\nd1,2.x\n", `is not a version such as`},
		{"what the profile refuses", "device,platform,zone\nd1,symbian,Kyiv\n", `line 2: platform: not allowed: "symbian"; allowed: ios, android, web or hms`},
		{"not UTF-8", "device,tags.a\nd1,\xff\n", "line 2, column 2: not UTF-8"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rows, err := ReadCSV(strings.NewReader(tt.text))
			if err == nil || rows != nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%d rows, %v, want %q", len(rows), err, tt.want)
			}
			if _, ok := errors.AsType[*RowError](err); !ok {
				t.Errorf("%T says no line", err)
			}
		})
	}
	// All faults at once, and no row of a file with one.
	_, err := ReadCSV(strings.NewReader("device,tags.a:integer\nd1,x\nd2,2\nd3,y\n" + strings.Repeat("d4,z\n", 200)))
	if text := err.Error(); strings.Count(text, "\n") != maxRowErrors || !strings.Contains(text, "line 2, column 2") || !strings.Contains(text, "line 4, column 2") || !strings.HasSuffix(text, "was not read") {
		t.Errorf("%d lines of errors", strings.Count(text, "\n"))
	}
}

// What is written is read back to the same profiles.
func TestCSVRoundTrip(t *testing.T) {
	ps := []Profile{
		{Device: "shop.d1", Person: "u,1", Platform: "ios", Token: "secret", Env: "sandbox", Locale: "uk-UA", Zone: "Europe/Kyiv", SDK: "1", OS: "26", ConsentPush: new(false), ConsentLocation: new(true),
			Tags: map[string]any{"name": "Олена \"О\"\nК.", "age": 42.0, "spent": 129.9, "vip": true, "groups": []string{"a", "b c"}, "mixed": "x", "ratio": 0.333}},
		{Device: "shop.d2", Tags: map[string]any{"mixed": "y", "vip": false}},
		{Device: "shop.d3"},
	}
	for _, tokens := range []bool{true, false} {
		var out bytes.Buffer
		if err := WriteCSV(&out, ps, tokens); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out.String(), "secret") != tokens {
			t.Error("the token is written or not, as it should not be")
		}
		rows, err := ReadCSV(&out)
		if err != nil || len(rows) != len(ps) {
			t.Fatalf("%d rows, %v\n%s", len(rows), err, &out)
		}
		for i, r := range rows {
			got, want := Profile{Device: "shop." + r.Device}, ps[i]
			if err := got.Merge(r.Patch, 0); err != nil {
				t.Fatal(err)
			}
			if !tokens {
				want.Token = ""
			}
			if want.Tags["ratio"] != nil { // not a price and not whole: it comes back as text
				want.Tags["ratio"] = "0.333"
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		}
	}
}

func FuzzReadCSV(f *testing.F) {
	f.Add("device,tags.a:integer\nd1,4\n")
	f.Add("device,user,tags.b:list\nd1,null,x|y\n")
	f.Fuzz(func(t *testing.T, text string) {
		rows, err := ReadCSV(strings.NewReader(text))
		for _, r := range rows {
			p := Profile{Device: "a." + r.Device}
			if e := p.Merge(r.Patch, 0); e != nil && err == nil {
				t.Errorf("a row that is refused later: %v", e)
			}
		}
	})
}
