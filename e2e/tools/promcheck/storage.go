package main

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

// memory is a storage of the input series of one test: Prometheus' own one links its configuration, and so all clouds.
type memory []storage.Series

// load adds a series in the notation of Prometheus' tests, such as `up{job="a"}` with `1x5 _ 0x5`; one value an interval.
func (m *memory) load(series, values string, interval time.Duration) error {
	metric, sequence, err := language().ParseSeriesDesc(series + " " + values)
	if err != nil {
		return fmt.Errorf("series %s %s: %w", series, values, err)
	}
	var samples []chunks.Sample
	for number, value := range sequence {
		if value.Histogram != nil {
			return fmt.Errorf("series %s: native histograms are not supported here", series)
		}
		if !value.Omitted {
			samples = append(samples, sample{at: int64(number) * interval.Milliseconds(), value: value.Value})
		}
	}
	*m = append(*m, storage.NewListSeries(metric, samples))
	return nil
}

// Querier implements storage.Queryable.
func (m memory) Querier(int64, int64) (storage.Querier, error) {
	return querier{LabelQuerier: storage.NoopQuerier(), series: m}, nil
}

type querier struct {
	storage.LabelQuerier
	series memory
}

// Select implements storage.Querier.
func (q querier) Select(_ context.Context, _ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	set := &seriesSet{next: -1}
	for _, series := range q.series {
		if matches(series.Labels(), matchers) {
			set.series = append(set.series, series)
		}
	}
	return set
}

func matches(metric labels.Labels, matchers []*labels.Matcher) bool {
	for _, matcher := range matchers {
		if !matcher.Matches(metric.Get(matcher.Name)) {
			return false
		}
	}
	return true
}

// seriesSet implements storage.SeriesSet.
type seriesSet struct {
	series memory
	next   int
}

func (s *seriesSet) Next() bool                        { s.next++; return s.next < len(s.series) }
func (s *seriesSet) At() storage.Series                { return s.series[s.next] }
func (s *seriesSet) Err() error                        { return nil }
func (s *seriesSet) Warnings() annotations.Annotations { return nil }

// sample implements chunks.Sample for a float.
type sample struct {
	at    int64
	value float64
}

func (s sample) T() int64                      { return s.at }
func (s sample) ST() int64                     { return 0 }
func (s sample) F() float64                    { return s.value }
func (s sample) H() *histogram.Histogram       { return nil }
func (s sample) FH() *histogram.FloatHistogram { return nil }
func (s sample) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (s sample) Copy() chunks.Sample           { return s }
