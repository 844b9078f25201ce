// promcheck checks metrics, alerting rules and tests of rules with the packages of Prometheus itself. It exits with 1 and says
// why when something is wrong.
//
//	promcheck metrics < exposition     text format and naming, like `promtool check metrics`
//	promcheck rules FILE               syntax, templates and duplicates, like `promtool check rules --lint=all --lint-fatal`
//	promcheck test FILE                alerts against series, like `promtool test rules`
//
// promtool itself links the SDKs of a dozen clouds and takes minutes to build. Libraries have the versions of ../kubernetes, so
// that what was compiled for that is not compiled again.
package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	switch {
	case slices.Equal(arguments, []string{"metrics"}):
		return checkMetrics(os.Stdin)
	case len(arguments) == 2 && arguments[0] == "rules":
		groups, err := readRules(arguments[1])
		if err != nil {
			return err
		}
		fmt.Printf("SUCCESS: %d rules found\n", count(groups))
		return nil
	case len(arguments) == 2 && arguments[0] == "test":
		number, err := testRules(arguments[1])
		if err != nil {
			return err
		}
		fmt.Printf("SUCCESS: %d checks of alerts\n", number)
		return nil
	}
	return errors.New("usage: promcheck metrics | promcheck rules FILE | promcheck test FILE")
}

func checkMetrics(exposition io.Reader) error {
	problems, err := promlint.New(exposition).Lint()
	if err != nil {
		return fmt.Errorf("failed to parse the metrics: %w", err)
	}
	var lines []string
	for _, problem := range problems {
		lines = append(lines, problem.Metric+" "+problem.Text)
	}
	if len(lines) > 0 {
		return errors.New(strings.Join(lines, "\n"))
	}
	return nil
}

// readRules returns the groups of a rule file that has no error and no duplicate.
func readRules(file string) ([]rulefmt.RuleGroup, error) {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	groups, errs := rulefmt.ParseFile(file, false, model.UTF8Validation, language(), log)
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	if count(groups.Groups) == 0 {
		return nil, fmt.Errorf("%s: no rules", file)
	}
	seen := map[string]bool{}
	for _, group := range groups.Groups {
		for _, rule := range group.Rules {
			identity := rule.Alert + rule.Record + labelsOf(group, rule).String()
			if seen[identity] {
				return nil, fmt.Errorf("%s: duplicate rule %s", file, identity)
			}
			seen[identity] = true
		}
	}
	return groups.Groups, nil
}

// labelsOf returns the labels that a rule adds: its own before those of its group.
func labelsOf(group rulefmt.RuleGroup, rule rulefmt.Rule) labels.Labels {
	builder := labels.NewBuilder(labels.FromMap(group.Labels))
	for name, value := range rule.Labels {
		builder.Set(name, value)
	}
	return builder.Labels()
}

func count(groups []rulefmt.RuleGroup) (number int) {
	for _, group := range groups {
		number += len(group.Rules)
	}
	return number
}

func language() parser.Parser { return parser.NewParser(parser.Options{}) }
