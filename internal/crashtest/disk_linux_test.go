package crashtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"footfall/push/fake"
	"footfall/stream"
	"footfall/stream/wire"
)

// inNamespace is set in the environment of a test that runs again where it may mount.
const inNamespace = "FOOTFALL_TEST_NAMESPACE"

// mountTmpfs mounts a file system of the given size in MiB on dir. Who is not root gets a user and a mount namespace:
// the test runs again in them, and here is its result; then mounted is false. Where neither is allowed it is skipped.
func mountTmpfs(t *testing.T, dir string, mib int) (mounted bool) {
	t.Helper()
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", mib))
	switch {
	case err == nil:
		t.Cleanup(func() {
			if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
				t.Errorf("unmount: %v", err)
			}
		})
		return true
	case os.Getenv(inNamespace) != "":
		t.Fatalf("mount a tmpfs in a namespace: %v", err)
	}
	again := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	again.Env = append(os.Environ(), inNamespace+"=1")
	again.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	var out bytes.Buffer
	again.Stdout, again.Stderr = &out, &out
	nsErr := again.Run()
	if _, ran := errors.AsType[*exec.ExitError](nsErr); nsErr != nil && !ran {
		t.Skipf("nothing can be mounted here, so no disk can be filled: as this user %v, in a namespace of its own %v", err, nsErr)
	}
	t.Logf("in a namespace of its own:\n%s", &out)
	if nsErr != nil {
		t.Error(nsErr)
	}
	return false
}

// fill leaves so many bytes of the file system of dir free, and returns the file that takes the rest. The gateway writes
// meanwhile.
func fill(t *testing.T, dir string, leave int64) string {
	t.Helper()
	f, err := os.CreateTemp(dir, "ballast-")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	at := int64(0)
	for step := int64(64 << 20); step >= 4096; {
		var fs syscall.Statfs_t
		if err := syscall.Statfs(dir, &fs); err != nil {
			t.Fatal(err)
		}
		if int64(fs.Bavail)*fs.Bsize < leave+step || syscall.Fallocate(int(f.Fd()), 0, at, step) != nil {
			step /= 2
			continue
		}
		at += step
	}
	return f.Name()
}

// TestFullDisk fills the disk under the real binary. Nearly full: no input is answered ok, all of it busy with disk_full,
// and there is an alarm; with room again the same process takes what phones repeat. Full to the last byte, and killed:
// everything that was answered ok is there after a start with room. In the end each phone shows its one push.
func TestFullDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the gateway and fills a disk of 512 MiB; not in -short")
	}
	t.Parallel() // most of it is waiting
	s := newSite(t)
	data := filepath.Join(s.dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if !mountTmpfs(t, data, 512) {
		return
	}
	s.start()
	nc, err := nats.Connect("nats://"+s.addr, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond), nats.RetryOnFailedConnect(true))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	p := &phones{nc: nc}
	const group = 10
	people := 0
	register := func(name string) {
		p.send("device.shop."+name, fmt.Appendf(nil, `{"platform":"ios","token":%q,"locale":"en"}`, fake.DeviceToken(name)))
	}
	position := func() []byte {
		return fmt.Appendf(nil, `{"t":%d,"lat":50.4501,"lon":30.5234,"acc":8}`, time.Now().UnixMilli())
	}
	come := func() {
		for range group {
			name := fmt.Sprintf("d%03d", people)
			people++
			register(name)
			p.send("ping.shop."+name, position())
		}
	}

	status := func() (st stream.Status) {
		m, err := nc.Request(stream.StatsSubject, nil, 30*time.Second)
		if err == nil {
			err = json.Unmarshal(m.Data, &st)
		}
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	come()
	s.awaitPushes("welcome", group)
	for i := range group { // of the next
		register(fmt.Sprintf("d%03d", people+i))
	}
	ballast := fill(t, data, 32<<20) // of the 64 MiB that must be left
	ask := func() (r wire.Reply) {
		m, err := nc.Request(fmt.Sprintf("ping.shop.d%03d", people), position(), 30*time.Second)
		if err == nil {
			r, err = wire.ParseReply(m.Data)
		}
		if err != nil {
			t.Fatalf("a gateway with a full disk answers nothing: %v", err)
		}
		return r
	}
	for deadline := time.Now().Add(time.Minute); ask().OK; time.Sleep(50 * time.Millisecond) { // the guard looks once a second
		if time.Now().After(deadline) {
			t.Fatal("input is still taken a minute after the disk was filled")
		}
	}
	before := status()
	for range 50 {
		if r := ask(); r.OK || !r.Busy || r.RetryMS <= 0 {
			t.Fatalf("with a full disk: %+v", r)
		}
	}
	if after := status(); after.Stats.Batches != before.Stats.Batches || after.Stats.Dropped["disk_full"] < 50 {
		t.Errorf("%d batches stored, then %d; dropped %v", before.Stats.Batches, after.Stats.Batches, after.Stats.Dropped)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	come()
	s.awaitPushes("welcome", 2*group)
	s.stop()
	if out := s.output.String(); !strings.Contains(out, "the disk is nearly full") {
		t.Errorf("there was no alarm:\n%s", out)
	}

	s.start()
	come()
	ballast = fill(t, data, 0)
	s.kill()
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	s.start()
	come()
	s.awaitPushes("welcome", int64(people))
	for d := range people {
		name := fmt.Sprintf("d%03d", d)
		if n := len(s.apns.Phones().Shown(fake.DeviceToken(name))); n != 1 {
			t.Errorf("phone %s shows %d notifications, want 1", name, n)
		}
	}
	s.stop()
}
