package access

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestOneFetchForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fetches := 0
		s := New(func(ctx context.Context) (string, time.Duration, error) {
			fetches++
			time.Sleep(time.Second)
			return fmt.Sprint("token-", fetches), time.Hour, nil
		}, time.Now)
		defer s.Close()
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() {
				if got, err := s.Get(t.Context()); got != "token-1" || err != nil {
					t.Errorf("%q, %v", got, err)
				}
			})
		}
		wg.Wait()
		if s.Refused("token-1", time.Minute) {
			t.Error("a fresh token was given up")
		}
		time.Sleep(time.Hour - RefreshBefore) // renewed in the background while it serves
		if got, _ := s.Get(t.Context()); got != "token-1" {
			t.Errorf("%q", got)
		}
		time.Sleep(2 * time.Second)
		if got, _ := s.Get(t.Context()); got != "token-2" || fetches != 2 {
			t.Errorf("%q after %d fetches", got, fetches)
		}
		if !s.Refused("token-1", time.Minute) || !s.Refused("token-2", 0) {
			t.Error("a retry would use another token")
		}
		if got, _ := s.Get(t.Context()); got != "token-3" {
			t.Errorf("%q", got)
		}
	})
}

func TestFailedFetchPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fetches, down := 0, errors.New("down")
		s := New(func(ctx context.Context) (string, time.Duration, error) {
			fetches++
			if fetches == 1 {
				return "", 0, down
			}
			return "token", time.Hour, nil
		}, time.Now)
		for range 5 {
			if _, err := s.Get(t.Context()); err != down {
				t.Errorf("%v", err)
			}
		}
		time.Sleep(FetchPause)
		if got, err := s.Get(t.Context()); got != "token" || err != nil || fetches != 2 {
			t.Errorf("%q, %v, %d fetches", got, err, fetches)
		}
		s.Close()
		if _, err := s.Get(t.Context()); err != ErrClosed {
			t.Errorf("after Close: %v", err)
		}
	})
}

// Credentials change while a fetch with the old ones hangs: nobody gets the old
// token, and who waited for it gets the new one.
func TestReplaceDuringAFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		s := New(func(ctx context.Context) (string, time.Duration, error) {
			<-hang
			return "old", time.Hour, nil
		}, time.Now)
		defer s.Close()
		got := make(chan string, 2)
		get := func() {
			token, err := s.Get(t.Context())
			if err != nil {
				t.Error(err)
			}
			got <- token
		}
		go get()
		synctest.Wait()
		s.Replace(func(ctx context.Context) (string, time.Duration, error) { return "new", time.Hour, nil })
		go get()
		synctest.Wait()
		close(hang)
		if a, b := <-got, <-got; a != "new" || b != "new" {
			t.Errorf("%q, %q", a, b)
		}
		if !s.Refused("old", time.Hour) {
			t.Error("the old token is not in use")
		}
	})
}
