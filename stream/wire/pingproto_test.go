package wire

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"footfall/track"
)

// protoFile is where the schema that SDKs compile lies.
const protoFile = "../../docs/protocol/footfall.proto"

// pingBatchType is footfall.v1.PingBatch for the google.golang.org/protobuf runtime, made of the very .proto file: the
// oracle for the hand decoder, and proof that both say the same about numbers and types.
func pingBatchType(t testing.TB) protoreflect.MessageDescriptor {
	t.Helper()
	text, err := os.ReadFile(protoFile)
	if err != nil {
		t.Fatal(err)
	}
	field := regexp.MustCompile(`(?m)^  (optional |repeated )?(\w+) (\w+) = (\d+);`)
	kinds := map[string]descriptorpb.FieldDescriptorProto_Type{
		"int64": descriptorpb.FieldDescriptorProto_TYPE_INT64, "double": descriptorpb.FieldDescriptorProto_TYPE_DOUBLE,
		"float": descriptorpb.FieldDescriptorProto_TYPE_FLOAT, "bool": descriptorpb.FieldDescriptorProto_TYPE_BOOL,
		// As bytes, which are the same on the wire, so that text that is not UTF-8 refuses the ping and not the batch.
		"string": descriptorpb.FieldDescriptorProto_TYPE_BYTES,
		"Ping":   descriptorpb.FieldDescriptorProto_TYPE_MESSAGE, "Source": descriptorpb.FieldDescriptorProto_TYPE_ENUM,
	}
	fd := &descriptorpb.FileDescriptorProto{Name: new("footfall.proto"), Package: new("footfall.v1"), Syntax: new("proto3")}
	for _, m := range regexp.MustCompile(`(?s)message (\w+) \{(.*?)\n\}`).FindAllSubmatch(text, -1) {
		msg := &descriptorpb.DescriptorProto{Name: new(string(m[1]))}
		for _, f := range field.FindAllSubmatch(m[2], -1) {
			kind, ok := kinds[string(f[2])]
			if !ok {
				t.Fatalf("%s: type %s is not known to this test", protoFile, f[2])
			}
			num, _ := strconv.Atoi(string(f[4]))
			p := &descriptorpb.FieldDescriptorProto{Name: new(string(f[3])), Number: new(int32(num)), Type: &kind,
				Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum()}
			switch string(f[1]) {
			case "repeated ":
				p.Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
			case "optional ":
				p.Proto3Optional = new(true)
				p.OneofIndex = new(int32(len(msg.OneofDecl)))
				msg.OneofDecl = append(msg.OneofDecl, &descriptorpb.OneofDescriptorProto{Name: new("_" + string(f[3]))})
			}
			if k := string(f[2]); k == "Ping" || k == "Source" {
				p.TypeName = new(".footfall.v1." + k)
			}
			msg.Field = append(msg.Field, p)
		}
		fd.MessageType = append(fd.MessageType, msg)
	}
	enum := &descriptorpb.EnumDescriptorProto{Name: new("Source")}
	for _, v := range regexp.MustCompile(`(?m)^  (SOURCE_\w+) = (\d+);`).FindAllSubmatch(text, -1) {
		num, _ := strconv.Atoi(string(v[2]))
		enum.Value = append(enum.Value, &descriptorpb.EnumValueDescriptorProto{Name: new(string(v[1])), Number: new(int32(num))})
	}
	fd.EnumType = []*descriptorpb.EnumDescriptorProto{enum}
	file, err := protodesc.NewFile(fd, nil)
	if err != nil {
		t.Fatalf("%s: %v", protoFile, err)
	}
	return file.Messages().ByName("PingBatch")
}

// referenceProto is DecodePings for protobuf over the official runtime: it turns each message into the JSON that
// says the same and asks the JSON reference.
func referenceProto(t testing.TB, md protoreflect.MessageDescriptor, payload []byte) ([]track.Fix, []PingError, error) {
	batch := dynamicpb.NewMessage(md)
	if err := proto.Unmarshal(payload, batch); err != nil {
		return nil, nil, errProto
	}
	list := batch.Get(md.Fields().ByName("pings")).List()
	if list.Len() == 0 {
		return nil, nil, errEmpty
	}
	if list.Len() > 1000 {
		return nil, nil, errTooMany
	}
	var fixes []track.Fix
	var errs []PingError
	for i := range list.Len() {
		m := list.Get(i).Message()
		doc, nan := "{", false
		m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			text := ""
			switch fd.Kind() {
			case protoreflect.DoubleKind, protoreflect.FloatKind:
				x := v.Float()
				nan = nan || math.IsNaN(x)
				text = fmt.Sprint(x)
				if math.IsInf(x, 0) {
					text = map[bool]string{true: "1e999", false: "-1e999"}[x > 0]
				}
			case protoreflect.Int64Kind:
				text = fmt.Sprint(v.Int())
			case protoreflect.BoolKind:
				text = fmt.Sprint(v.Bool())
			case protoreflect.BytesKind:
				if fd.Name() == "device" {
					return true
				}
				text = `""` // refused like text that is not UTF-8
				if utf8.Valid(v.Bytes()) {
					b, err := json.Marshal(string(v.Bytes()))
					if err != nil {
						t.Fatal(err)
					}
					text = string(b)
				}
			case protoreflect.EnumKind:
				text = `"unknown"`
				if v.Enum() >= 0 && v.Enum() <= 5 {
					text = strconv.Quote(track.Source(v.Enum()).String())
				}
			}
			if len(doc) > 1 {
				doc += ","
			}
			doc += fmt.Sprintf("%q:%s", fd.Name(), text)
			return true
		})
		if nan {
			errs = append(errs, PingError{Index: i, Code: CodeOutOfRange})
			continue
		}
		fix, code := referencePing([]byte(doc+"}"), testReceived)
		if code != "" {
			errs = append(errs, PingError{Index: i, Code: code})
		} else {
			fixes = append(fixes, fix)
		}
	}
	return fixes, errs, nil
}

// diffProto compares the two decoders. Codes are compared only where one fault is present: with several, the
// order of fields in the message is not the order of a map.
func diffProto(t testing.TB, md protoreflect.MessageDescriptor, payload []byte) string {
	got, gotErrs, gotErr := DecodePings(nil, payload, testReceived)
	want, wantErrs, wantErr := referenceProto(t, md, payload)
	if (gotErr != nil) != (wantErr != nil) {
		return fmt.Sprintf("error: got %v, want %v", gotErr, wantErr)
	}
	index := func(errs []PingError) (s []int) {
		for _, e := range errs {
			s = append(s, e.Index)
		}
		return s
	}
	return cmp.Diff(want, got, cmpBits) + cmp.Diff(index(wantErrs), index(gotErrs))
}

// appendUsualPing writes a Ping as encoders do, with what is at the edges of what is good and beyond them among it: see protoUsual.
func appendUsualPing(r *rand.Rand) []byte {
	pick := func(odd ...float64) float64 { return odd[r.IntN(len(odd))] }
	b := protowire.AppendVarint([]byte{tagT}, uint64(pick(testReceived, testReceived-1000, minTimeMS, minTimeMS-1, maxTimeMS, 1<<42-1, 1<<42, 1<<35, 1<<35-1)))
	b = protowire.AppendFixed64(append(b, tagLat), math.Float64bits(pick(50.45, r.Float64()*90, -90, 90, math.Nextafter(90, 91), math.Copysign(0, -1))))
	b = protowire.AppendFixed64(append(b, tagLon), math.Float64bits(pick(30.52, r.Float64()*180, -180, 180, math.Nextafter(-180, -181))))
	f32 := func(tag byte, odd ...float64) {
		b = protowire.AppendFixed32(append(b, tag), math.Float32bits(float32(pick(odd...))))
	}
	f32(tagAcc, 5, 12.5, 0, math.Copysign(0, -1), maxAccuracyM, maxAccuracyM+4, -1)
	for _, part := range []func(){
		func() { f32(tagSpd, 1.4, 0, math.Copysign(0, -1), -1, maxSpeedMPS, -maxSpeedMPS, 2*maxSpeedMPS) },
		func() { f32(tagCrs, 270, 0, 33, math.Inf(1)) },
		func() { f32(tagAlt, 180, -12, 7, math.NaN()) },
		func() { b = append(b, tagSrc, byte(r.IntN(8))) },
	} {
		if r.IntN(3) > 0 {
			part()
		}
	}
	return b
}

// appendRandomPing writes a Ping of good and bad parts, with unknown fields and wrong wire types among them.
func appendRandomPing(r *rand.Rand) []byte {
	var b []byte
	field := func(p float64, write func()) {
		for r.Float64() < p {
			write()
			p = 0.05
		}
	}
	varint := func(num protowire.Number, v uint64) {
		b = protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
	}
	f64 := func(num protowire.Number, v float64) {
		b = protowire.AppendFixed64(protowire.AppendTag(b, num, protowire.Fixed64Type), math.Float64bits(v))
	}
	f32 := func(num protowire.Number, v float32) {
		b = protowire.AppendFixed32(protowire.AppendTag(b, num, protowire.Fixed32Type), math.Float32bits(v))
	}
	text := func(num protowire.Number, s string) {
		b = protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), s)
	}
	odd := []float64{math.NaN(), math.Inf(1), math.Inf(-1), 0, math.Copysign(0, -1), 91, 1e308}
	parts := []func(){
		func() {
			field(0.9, func() {
				varint(protoT, []uint64{1795859999, 0, math.MaxUint64, 1 << 62, testReceived - 1000}[min(r.IntN(60), 4)])
			})
		},
		func() { field(0.95, func() { f64(protoLat, r.Float64()*180-90) }) },
		func() { field(0.95, func() { f64(protoLon, r.Float64()*360-180) }) },
		func() { field(0.02, func() { f64(protoLat, odd[r.IntN(len(odd))]) }) },
		func() { field(0.5, func() { f32(protoAcc, float32(r.IntN(100)-1)) }) },
		func() { field(0.3, func() { f32(protoSpd, float32(r.IntN(30)-2)) }) },
		func() { field(0.02, func() { f32(protoSpd, float32(odd[r.IntN(len(odd))])) }) },
		func() { field(0.02, func() { f32(protoAlt, float32(odd[r.IntN(len(odd))])) }) },
		func() { field(0.1, func() { f32(protoCrs, 270) }) },
		func() {
			field(0.4, func() {
				varint(protoSrc, []uint64{6, 1 << 32, math.MaxUint64, 0, 1, 2, 3, 4, 5}[min(r.IntN(60), 3+r.IntN(6))])
			})
		},
		func() { field(0.1, func() { varint(protoMock, uint64(r.IntN(3))) }) },
		func() { field(0.2, func() { varint(protoAge, uint64(r.Int64N(1e6))) }) },
		func() { field(0.3, func() { text(protoFence, []string{"kyiv-1", "", "Kyiv"}[r.IntN(3)]) }) },
		func() { field(0.1, func() { text(protoDevice, "d1") }) },
		func() { field(0.1, func() { text(protoLat, "41.3") }) },                            // wrong wire type: skipped
		func() { field(0.1, func() { varint(99, 7) }) },                                     // unknown
		func() { field(0.1, func() { b = append(b, 0x9b, 0x01, 0x08, 0x01, 0x9c, 0x01) }) }, // an unknown group, number 19
	}
	r.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	for _, p := range parts {
		p()
	}
	return b
}

func TestDecodeProtoEqualsRuntime(t *testing.T) {
	md := pingBatchType(t)
	const seed = 42
	r := rand.New(rand.NewPCG(seed, 2))
	good, bad, broken, usual := 0, 0, 0, 0
	for i := range 12000 {
		var b []byte
		for range 1 + r.IntN(4) {
			ping := appendRandomPing
			if i%2 == 0 {
				ping = appendUsualPing
			}
			msg := protowire.AppendBytes([]byte{tagPings}, ping(r))
			if (&decoder{received: testReceived}).protoUsual(msg) > 0 {
				usual++
			}
			b = append(b, msg...)
		}
		if r.IntN(4) == 0 {
			b[r.IntN(len(b))] = byte(r.Uint32())
		} else if r.IntN(8) == 0 {
			b = b[:r.IntN(len(b))]
		}
		if len(b) == 0 || json1(b[0]) {
			continue
		}
		if d := diffProto(t, md, b); d != "" {
			t.Fatalf("seed %d, message %d: %x (-want +got)\n%s", seed, i, b, d)
		}
		fixes, errs, err := DecodePings(nil, b, testReceived)
		good += len(fixes)
		bad += len(errs)
		if err != nil {
			broken++
		}
	}
	if good < 6000 || bad < 2000 || broken < 600 || usual < 1000 {
		t.Errorf("mix is off: %d good, %d of them usual, %d refused, %d broken", good, usual, bad, broken)
	}
}

// json1 reports whether c begins JSON.
func json1(c byte) bool {
	return c == '{' || c == '[' || c == ' ' || c == '\t' || c == '\n' || c == '\r'
}

// No tag of PingBatch's fields, present or reserved for the future, may begin JSON.
func TestProtoTagsAreNotJSON(t *testing.T) {
	for num := protowire.Number(1); num < 1000; num++ {
		if num == 1 || num == 4 || num == 11 || num == 15 {
			continue // reserved in the .proto file
		}
		for typ := protowire.VarintType; typ <= protowire.Fixed32Type; typ++ {
			if c := protowire.AppendTag(nil, num, typ)[0]; json1(c) || c == 0xEF {
				t.Errorf("field %d with wire type %d begins with %q", num, typ, c)
			}
		}
	}
}

func FuzzDecodePingsProto(f *testing.F) {
	md := pingBatchType(f)
	r := rand.New(rand.NewPCG(3, 3))
	for range 30 {
		f.Add(protowire.AppendBytes([]byte{protoPings<<3 | 2}, appendRandomPing(r)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 || json1(b[0]) || b[0] == 0xEF {
			t.Skip()
		}
		if d := diffProto(t, md, b); d != "" {
			t.Fatal(d)
		}
	})
}

// protoPing encodes a good Ping of one second before testReceived.
func protoPing(device string, lat, lon float64) []byte {
	b := protowire.AppendVarint(protowire.AppendTag(nil, protoT, protowire.VarintType), testReceived-1000)
	b = protowire.AppendFixed64(protowire.AppendTag(b, protoLat, protowire.Fixed64Type), math.Float64bits(lat))
	b = protowire.AppendFixed64(protowire.AppendTag(b, protoLon, protowire.Fixed64Type), math.Float64bits(lon))
	if device != "" {
		b = protowire.AppendString(protowire.AppendTag(b, protoDevice, protowire.BytesType), device)
	}
	return b
}

func protoBatch(pings ...[]byte) (b []byte) {
	for _, p := range pings {
		b = protowire.AppendBytes(protowire.AppendTag(b, protoPings, protowire.BytesType), p)
	}
	return b
}
