package main

// Expectations, compared with answers.

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"

	rowgatev1 "rowgate/v1"
)

func compare(expect object, found *answer, err error) error {
	wanted, fails := expect["error"].(object)
	switch {
	case err != nil && fails:
		return compareError(wanted, err)
	case err != nil:
		return fmt.Errorf("it failed: %w", err)
	case fails:
		return fmt.Errorf("it did not fail with %v", wanted)
	}
	if results, there := expect["results"]; there {
		if len(elements(results)) != len(found.results) {
			return fmt.Errorf("%d results", len(found.results))
		}
		for i, one := range elements(results) {
			if err := compare(one.(object), answerOf(found.results[i], object{}), nil); err != nil {
				return fmt.Errorf("result %d: %w", i, err)
			}
		}
	}
	for member, wanted := range expect {
		if member != "results" && !isAsWanted(member, wanted, found) {
			return fmt.Errorf("%s: wanted %v, found %v", member, wanted, shown(member, found))
		}
	}
	return nil
}

func isAsWanted(member string, wanted interface{}, found *answer) bool {
	switch member {
	case "rows":
		rows := elements(wanted)
		for i := range rows {
			if !isRow(rows[i], found, i) {
				return false
			}
		}
		return len(rows) == len(found.rows)
	case "first_row":
		return isRow(wanted, found, 0)
	case "last_row":
		return isRow(wanted, found, len(found.rows)-1)
	case "row_count":
		if count, there := found.members["row_count"]; there {
			return fmt.Sprint(count) == fmt.Sprint(wanted)
		}
		return integer(wanted, -1) == int64(len(found.rows))
	case "columns":
		return areColumns(wanted, found.columns)
	case "parameter_types":
		return areColumns(wanted, found.members[member].([]*rowgatev1.Column))
	}
	return fmt.Sprint(found.members[member]) == fmt.Sprint(wanted)
}

func isRow(expected interface{}, found *answer, index int) bool {
	if index < 0 || index >= len(found.rows) || len(elements(expected)) != len(found.rows[index].Values) {
		return false
	}
	for i, one := range elements(expected) {
		column := found.columns[i]
		if !same(one, foundIn(found.rows[index].Values[i], column)) {
			return false
		}
	}
	return true
}

func foundIn(value *rowgatev1.Value, column *rowgatev1.Column) interface{} {
	return found(value, column.Type, column.ElementType)
}

func areColumns(wanted interface{}, columns []*rowgatev1.Column) bool {
	for i, one := range elements(wanted) {
		if i >= len(columns) {
			return false
		}
		typeName := func(t rowgatev1.DataType) string { return strings.TrimPrefix(t.String(), "DATA_TYPE_") }
		c := columns[i]
		described := object{"name": c.Name, "type": typeName(c.Type), "element_type": typeName(c.ElementType), "type_name": c.TypeName}
		for name, member := range one.(object) {
			if described[name] != member {
				return false
			}
		}
	}
	return len(elements(wanted)) == len(columns)
}

func shown(member string, found *answer) string {
	all := fmt.Sprint(found.members, found.columns)
	if strings.Contains(member, "row") {
		all = fmt.Sprint(len(found.rows), " rows ", found.rows)
	}
	if len(all) > 1000 {
		all = all[:1000]
	}
	return all
}

// The names of gRPC's codes, by their numbers.
var codeNames = strings.Fields(`OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED
RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS UNAUTHENTICATED`)

func compareError(wanted object, failed error) error {
	reason, outcome, retry := Fate(failed)
	database, fields := &rowgatev1.DatabaseError{}, []interface{}{}
	for _, detail := range status.Convert(failed).Details() {
		switch d := detail.(type) {
		case *rowgatev1.DatabaseError:
			database = d
		case *errdetails.BadRequest:
			for _, violation := range d.FieldViolations {
				fields = append(fields, violation.Field)
			}
		}
	}
	has := object{
		"code": codeNames[status.Code(failed)], "reason": reason, "outcome": outcome, "sqlstate": database.Sqlstate,
		"constraint": database.Constraint, "schema": database.Schema, "table": database.Table, "column": database.Column,
		"position": number(uint64(database.Position)), "line": number(database.Line), "retryable": retry != nil, "fields": fields,
	}
	if database.FailedStatement != nil {
		has["failed_statement"] = number(uint64(*database.FailedStatement))
	}
	for member, one := range wanted {
		choices, several := one.([]interface{})
		if !several || member == "fields" {
			choices = []interface{}{one}
		}
		isOne := member == "without" && !strings.Contains(fmt.Sprint(failed, database), text(one))
		for _, choice := range choices {
			isOne = isOne || reflect.DeepEqual(choice, has[member])
		}
		if !isOne {
			return fmt.Errorf("%s: wanted %v, found %v in %v: %v", member, one, has[member], reason, failed)
		}
	}
	return nil
}

func number(n uint64) json.Number {
	return json.Number(fmt.Sprint(n))
}
