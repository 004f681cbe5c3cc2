package load

import (
	"math"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
)

// appendMessage appends the payload of a message whose run began at startMS, Unix ms.
func (p *Plan) appendMessage(dst []byte, m *Message, startMS int64) []byte {
	pings := p.Pings[m.First : m.First+m.N]
	if p.Config.Encoding == "protobuf" {
		for i := range pings {
			dst = appendProto(dst, &pings[i], startMS)
		}
		return dst
	}
	if len(pings) == 1 {
		return appendJSON(dst, &pings[0], startMS)
	}
	for i := range pings {
		dst = append(dst, "[,"[min(i, 1)])
		dst = appendJSON(dst, &pings[i], startMS)
	}
	return append(dst, ']')
}

func appendJSON(dst []byte, p *Ping, startMS int64) []byte {
	dst = strconv.AppendInt(append(dst, `{"t":`...), startMS+p.T, 10)
	dst = strconv.AppendFloat(append(dst, `,"lat":`...), p.Lat, 'f', -1, 64)
	dst = strconv.AppendFloat(append(dst, `,"lon":`...), p.Lng, 'f', -1, 64)
	if p.Acc > 0 {
		dst = strconv.AppendFloat(append(dst, `,"acc":`...), float64(p.Acc), 'f', -1, 32)
	}
	dst = append(dst, `,"src":"stream"`...)
	if p.Mock {
		dst = append(dst, `,"mock":true`...)
	}
	return append(dst, '}')
}

// appendProto appends one ping of a footfall.v1.PingBatch; the numbers are those of docs/protocol/footfall.proto.
func appendProto(dst []byte, p *Ping, startMS int64) []byte {
	t := uint64(startMS + p.T)
	n := 1 + protowire.SizeVarint(t) + 2*(1+8)
	if p.Acc > 0 {
		n += 1 + 4
	}
	if p.Mock {
		n += 2
	}
	dst = protowire.AppendVarint(protowire.AppendTag(dst, 2, protowire.BytesType), uint64(n))
	dst = protowire.AppendVarint(protowire.AppendTag(dst, 1, protowire.VarintType), t)
	dst = protowire.AppendFixed64(protowire.AppendTag(dst, 2, protowire.Fixed64Type), math.Float64bits(p.Lat))
	dst = protowire.AppendFixed64(protowire.AppendTag(dst, 3, protowire.Fixed64Type), math.Float64bits(p.Lng))
	if p.Acc > 0 {
		dst = protowire.AppendFixed32(protowire.AppendTag(dst, 4, protowire.Fixed32Type), math.Float32bits(p.Acc))
	}
	if p.Mock {
		dst = protowire.AppendVarint(protowire.AppendTag(dst, 9, protowire.VarintType), 1)
	}
	return dst
}
