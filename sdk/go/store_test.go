package footfall

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fmt"
)

func TestFileStoreOverRestarts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "outbox")
	var want []string
	open := func() *FileStore {
		t.Helper()
		s, err := OpenFileStore(path)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	check := func(s *FileStore) {
		t.Helper()
		state, err := s.Load()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, it := range state.Items {
			got = append(got, fmt.Sprint(it.ID))
		}
		if strings.Join(got, " ") != strings.Join(want, " ") || strings.Join(state.Shown, " ") != "m1 m2" {
			t.Errorf("got %v and %v, want %v", got, state.Shown, want)
		}
	}
	s := open()
	for id := uint64(1); id <= 3; id++ {
		if err := s.Put(Item{ID: id, Class: "ping", Payload: []byte(`{}`)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Delete([]uint64{2}); err != nil {
		t.Fatal(err)
	}
	for _, mid := range []string{"m1", "m2"} {
		if err := s.PutShown(mid); err != nil {
			t.Fatal(err)
		}
	}
	want = []string{"1", "3"}
	check(s)
	s.Close()
	s = open()
	check(s)
	// Many come and go: the file stays small.
	for id := uint64(10); id < 5000; id++ {
		if err := s.Put(Item{ID: id, Class: "ping", Payload: []byte(`{}`)}); err != nil {
			t.Fatal(err)
		}
		if err := s.Delete([]uint64{id}); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Size() > 100_000 {
		t.Errorf("the file has %d bytes, %v", info.Size(), err)
	}
	s.Close()
	// A crash in the middle of a write.
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"put":{"id":7777,"class":"pi`); err != nil {
		t.Fatal(err)
	}
	f.Close()
	s = open()
	check(s)
	s.Close()
	// What cannot be read is not thrown away in silence.
	if err := os.WriteFile(path, []byte("{\"put\":{\"id\":1}}\nnot a line\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenFileStore(path); err == nil || !strings.Contains(err.Error(), ":2:") {
		t.Errorf("a broken file: %v, want the line", err)
	}
}
