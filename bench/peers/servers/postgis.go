package main

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"
)

// postgisPlayer asks for the fences of each position, pipelined, with an index on the
// centres, and keeps the presence of devices itself.
func postgisPlayer(dsn string) player {
	return func(t *trace, w *stopwatch) ([]event, error) {
		ctx := context.Background()
		db, err := pgx.Connect(ctx, dsn)
		if err != nil {
			return nil, err
		}
		defer db.Close(ctx)
		for _, q := range []string{
			"DROP TABLE IF EXISTS bench_fences",
			"CREATE TABLE bench_fences (id int, at geography(Point))",
		} {
			if _, err := db.Exec(ctx, q); err != nil {
				return nil, err
			}
		}
		b := &pgx.Batch{}
		for i, s := range t.fences {
			c := s.Center()
			b.Queue("INSERT INTO bench_fences VALUES ($1, ST_MakePoint($2, $3)::geography)", i, c.Lng, c.Lat)
		}
		if err := db.SendBatch(ctx, b).Close(); err != nil {
			return nil, err
		}
		for _, q := range []string{"CREATE INDEX ON bench_fences USING gist (at)", "VACUUM ANALYZE bench_fences"} {
			if _, err := db.Exec(ctx, q); err != nil {
				return nil, err
			}
		}
		// On the sphere, as the others.
		const ask = "SELECT id FROM bench_fences WHERE ST_DWithin(at, ST_MakePoint($1, $2)::geography, 200, false)"
		var events []event
		inside := map[string][]int32{}
		w.start()
		for first := 0; first < len(t.pings); first += pipelined {
			some := t.pings[first:min(first+pipelined, len(t.pings))]
			b := &pgx.Batch{}
			for i := range some {
				b.Queue(ask, some[i].at.Lng, some[i].at.Lat)
			}
			res := db.SendBatch(ctx, b)
			for i := range some {
				rows, err := res.Query()
				if err != nil {
					return nil, err
				}
				is, err := pgx.CollectRows(rows, pgx.RowTo[int32])
				if err != nil {
					return nil, err
				}
				d, was := some[i].device, inside[some[i].device]
				for _, f := range was {
					if !slices.Contains(is, f) {
						events = append(events, event{d, fenceID(f), false})
					}
				}
				for _, f := range is {
					if !slices.Contains(was, f) {
						events = append(events, event{d, fenceID(f), true})
					}
				}
				if len(is) > 0 || len(was) > 0 {
					inside[d] = is
				}
			}
			if err := res.Close(); err != nil {
				return nil, err
			}
		}
		w.stop()
		return events, nil
	}
}
