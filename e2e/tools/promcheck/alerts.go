package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/template"
	"go.yaml.in/yaml/v2"
)

// testFile is the part of the format of `promtool test rules` that alerts need; any other field is refused.
type testFile struct {
	RuleFiles          []string       `yaml:"rule_files"`
	EvaluationInterval model.Duration `yaml:"evaluation_interval"`
	Tests              []testGroup    `yaml:"tests"`
}

type testGroup struct {
	Name     string         `yaml:"name"`
	Interval model.Duration `yaml:"interval"`
	Series   []struct {
		Series string `yaml:"series"`
		Values string `yaml:"values"`
	} `yaml:"input_series"`
	Alerts []expectation `yaml:"alert_rule_test"`
}

// expectation names all alerts of a rule that fire at a time.
type expectation struct {
	EvalTime model.Duration `yaml:"eval_time"`
	Alert    string         `yaml:"alertname"`
	Expected []struct {
		Labels      map[string]string `yaml:"exp_labels"`
		Annotations map[string]string `yaml:"exp_annotations"`
	} `yaml:"exp_alerts"`
}

// testRules runs the tests of a file and returns how many expectations were held.
func testRules(file string) (number int, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	var tests testFile
	if err := yaml.UnmarshalStrict(text, &tests); err != nil {
		return 0, fmt.Errorf("%s: %w", file, err)
	}
	if tests.EvaluationInterval <= 0 {
		return 0, fmt.Errorf("%s: evaluation_interval is missing", file)
	}
	var rules []*alertingRule
	for _, name := range tests.RuleFiles {
		groups, err := readRules(filepath.Join(filepath.Dir(file), name))
		if err != nil {
			return 0, err
		}
		more, err := alertingRules(groups)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", name, err)
		}
		rules = append(rules, more...)
	}
	for _, test := range tests.Tests {
		if err := test.run(rules, time.Duration(tests.EvaluationInterval)); err != nil {
			return 0, fmt.Errorf("%s: %s: %w", file, test.Name, err)
		}
		number += len(test.Alerts)
	}
	if number == 0 {
		return 0, fmt.Errorf("%s: no alert_rule_test", file)
	}
	return number, nil
}

func (t testGroup) run(rules []*alertingRule, interval time.Duration) error {
	var series memory
	for _, input := range t.Series {
		if err := series.load(input.Series, input.Values, time.Duration(t.Interval)); err != nil {
			return err
		}
	}
	var last time.Duration
	for _, expected := range t.Alerts {
		if !slices.ContainsFunc(rules, func(rule *alertingRule) bool { return rule.Alert == expected.Alert }) {
			return fmt.Errorf("alertname %s: no such rule", expected.Alert)
		}
		last = max(last, time.Duration(expected.EvalTime))
	}
	query := asker(series)
	for _, rule := range rules {
		rule.active = map[string]*alert{}
	}
	var failures []error
	for now := time.Duration(0); now <= last; now += interval {
		for _, rule := range rules {
			if err := rule.evaluate(query, time.Unix(0, 0).UTC().Add(now)); err != nil {
				return fmt.Errorf("%s at %v: %w", rule.Alert, now, err)
			}
		}
		for _, expected := range t.Alerts {
			if at := time.Duration(expected.EvalTime); now <= at && at < now+interval {
				failures = append(failures, expected.check(rules))
			}
		}
	}
	return errors.Join(failures...)
}

func (e expectation) check(rules []*alertingRule) error {
	var expected, firing []string
	for _, alert := range e.Expected {
		builder := labels.NewBuilder(labels.FromMap(alert.Labels))
		builder.Set(labels.AlertName, e.Alert)
		expected = append(expected, shown(builder.Labels(), labels.FromMap(alert.Annotations)))
	}
	for _, rule := range rules {
		if rule.Alert == e.Alert {
			firing = append(firing, rule.firing()...)
		}
	}
	slices.Sort(expected)
	slices.Sort(firing)
	if slices.Equal(expected, firing) {
		return nil
	}
	return fmt.Errorf("%s at %v\n  expected: %s\n  firing:   %s", e.Alert, e.EvalTime,
		strings.Join(expected, "\n            "), strings.Join(firing, "\n            "))
}

func shown(labels, annotations labels.Labels) string {
	return labels.String() + " " + annotations.String()
}

// alertingRule is a rule and its alerts, by their labels: pending, and firing after `for`.
// https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/
type alertingRule struct {
	rulefmt.Rule
	labels labels.Labels
	active map[string]*alert
}

type alert struct {
	labels, annotations labels.Labels
	since               time.Time
	fires               bool
}

func alertingRules(groups []rulefmt.RuleGroup) (rules []*alertingRule, err error) {
	for _, group := range groups {
		for _, rule := range group.Rules {
			switch {
			case rule.Record != "":
				return nil, fmt.Errorf("record %s: recording rules cannot be tested here", rule.Record)
			case rule.KeepFiringFor != 0 || group.QueryOffset != nil || group.Limit != 0:
				return nil, fmt.Errorf("alert %s: keep_firing_for, query_offset and limit cannot be tested here", rule.Alert)
			}
			rules = append(rules, &alertingRule{Rule: rule, labels: labelsOf(group, rule)})
		}
	}
	return rules, nil
}

func (r *alertingRule) evaluate(query template.QueryFunc, now time.Time) error {
	vector, err := query(context.Background(), r.Expr, now)
	if err != nil {
		return err
	}
	former := r.active
	r.active = map[string]*alert{}
	for _, sample := range vector {
		alert, err := r.alert(query, now, sample)
		if err != nil {
			return err
		}
		identity := alert.labels.String()
		if r.active[identity] != nil {
			return fmt.Errorf("two alerts with the labels %s", identity)
		}
		if known := former[identity]; known != nil {
			alert.since = known.since
		}
		alert.fires = now.Sub(alert.since) >= time.Duration(r.For)
		r.active[identity] = alert
	}
	return nil
}

func (r *alertingRule) alert(query template.QueryFunc, now time.Time, sample promql.Sample) (*alert, error) {
	data := template.AlertTemplateData(sample.Metric.Map(), map[string]string{}, "", sample)
	expand := func(text string) (string, error) {
		text = "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}{{$externalURL := .ExternalURL}}{{$value := .Value}}" + text
		at := model.TimeFromUnixNano(now.UnixNano())
		return template.NewTemplateExpander(context.Background(), text, "__alert_"+r.Alert, data, at, query, &url.URL{}, nil).Expand()
	}
	builder := labels.NewBuilder(sample.Metric)
	builder.Del(labels.MetricName)
	var failed error
	r.labels.Range(func(label labels.Label) {
		value, err := expand(label.Value)
		failed = errors.Join(failed, err)
		builder.Set(label.Name, value)
	})
	builder.Set(labels.AlertName, r.Alert)
	annotations := map[string]string{}
	for name, text := range r.Annotations {
		value, err := expand(text)
		failed = errors.Join(failed, err)
		annotations[name] = value
	}
	return &alert{labels: builder.Labels(), annotations: labels.FromMap(annotations), since: now}, failed
}

func (r *alertingRule) firing() (shownAlerts []string) {
	for _, alert := range r.active {
		if alert.fires {
			shownAlerts = append(shownAlerts, shown(alert.labels, alert.annotations))
		}
	}
	return shownAlerts
}

// asker returns what evaluates an expression over series, with the settings of a Prometheus server.
func asker(series memory) template.QueryFunc {
	engine := promql.NewEngine(promql.EngineOpts{
		MaxSamples:               1_000_000,
		Timeout:                  100 * time.Second,
		NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() },
		EnableAtModifier:         true,
		EnableNegativeOffset:     true,
		Parser:                   language(),
	})
	return func(ctx context.Context, expression string, at time.Time) (promql.Vector, error) {
		query, err := engine.NewInstantQuery(ctx, series, nil, expression, at)
		if err != nil {
			return nil, err
		}
		defer query.Close()
		result := query.Exec(ctx)
		if result.Err != nil {
			return nil, result.Err
		}
		switch value := result.Value.(type) {
		case promql.Vector:
			return slices.Clone(value), nil
		case promql.Scalar:
			return promql.Vector{{T: value.T, F: value.V, Metric: labels.EmptyLabels()}}, nil
		}
		return nil, fmt.Errorf("%s: neither a vector nor a scalar", expression)
	}
}
