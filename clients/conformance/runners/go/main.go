// Runs the conformance list for clients by the stubs and the client of examples/go. See ../../README.md.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"time"

	rowgatev1 "rowgate/v1"
)

// The features that this runner has; it needs no others of the list.
var features = map[string]bool{
	"abandon": true, "cancel": true, "copy": true, "describe": true, "half_close": true, "lower_bounds": true, "records": true,
}

type object = map[string]interface{}

func main() {
	backend := os.Getenv("ROWGATE_BACKEND")
	connection, err := Connect(os.Getenv("ROWGATE_ADDRESS"), "", "")
	check(err)
	client := rowgatev1.NewDatabaseServiceClient(connection)
	files, err := filepath.Glob(filepath.Join(os.Getenv("ROWGATE_CASES"), "*.json"))
	check(err)
	rand.Seed(time.Now().UnixNano())
	run := fmt.Sprintf("%x", rand.Uint64())
	passed, failed, skipped := 0, 0, 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		check(err)
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.UseNumber()
		var list object
		check(decoder.Decode(&list))
		for _, entry := range elements(list["cases"]) {
			one := entry.(object)
			name := strings.TrimSuffix(filepath.Base(file), ".json") + "/" + one["name"].(string)
			if !chosen(name) {
				continue
			}
			if reason := lack(one, backend); reason != "" {
				fmt.Printf("SKIPPED: %s: %s\n", name, reason)
				skipped++
			} else if err := runCase(client, prepared(one, backend, run).(object)); err != nil {
				fmt.Printf("FAILED: %s: %v\n", name, err)
				failed++
			} else {
				passed++
			}
		}
	}
	fmt.Printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped)
	if failed > 0 || passed == 0 {
		os.Exit(1)
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func chosen(name string) bool {
	for _, part := range os.Args[1:] {
		if strings.Contains(name, part) {
			return true
		}
	}
	return len(os.Args) == 1
}

// lack says why a case does not run.
func lack(one object, backend string) string {
	if notOn, there := one["not_on"].(object); there && notOn[backend] != nil {
		return notOn[backend].(string)
	}
	for _, feature := range elements(one["requires"]) {
		if !features[feature.(string)] {
			return fmt.Sprintf("the client has no %v", feature)
		}
	}
	return ""
}

// prepared puts what the backend has in the place of each per_backend, and the run in that of ${run}.
func prepared(value interface{}, backend, run string) interface{} {
	switch v := value.(type) {
	case string:
		return strings.ReplaceAll(v, "${run}", run)
	case []interface{}:
		all := make([]interface{}, len(v))
		for i, one := range v {
			all[i] = prepared(one, backend, run)
		}
		return all
	case object:
		if choices, there := v["per_backend"].(object); there && len(v) == 1 {
			choice, there := choices[backend]
			if !there {
				choice = choices["default"]
			}
			return prepared(choice, backend, run)
		}
		all := object{}
		for name, one := range v {
			all[name] = prepared(one, backend, run)
		}
		return all
	}
	return value
}

func runCase(client rowgatev1.DatabaseServiceClient, one object) (failure error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel() // what is still open is abandoned
	r := &runner{client: client, ctx: ctx, open: map[string]*opened{}}
	for _, sql := range elements(one["setup"]) {
		if _, err := r.query(object{"sql": sql}); err != nil {
			return fmt.Errorf("setup: %v: %w", sql, err)
		}
	}
	for i, entry := range elements(one["steps"]) {
		step, start := entry.(object), time.Now()
		for times := integer(step["times"], 1); times > 0; times-- {
			if err := r.step(step); err != nil {
				return fmt.Errorf("step %d: %w", i, err)
			}
		}
		if took := time.Since(start); took > milliseconds(step["within_ms"], 60_000) {
			return fmt.Errorf("step %d: it took %v", i, took)
		}
	}
	return nil
}
