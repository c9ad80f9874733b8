package main

// Values of the list: as parameters, and compared with those of results.

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	rowgatev1 "rowgate/v1"
)

const instant = "2006-01-02T15:04:05.999999999Z"

func elements(list interface{}) []interface{} {
	all, _ := list.([]interface{})
	return all
}

func text(value interface{}) string {
	text, _ := value.(string)
	return text
}

func integer(value interface{}, otherwise int64) int64 {
	if number, there := value.(json.Number); there {
		n, err := number.Int64()
		check(err)
		return n
	}
	return otherwise
}

func milliseconds(value interface{}, otherwise int64) time.Duration {
	return time.Duration(integer(value, otherwise)) * time.Millisecond
}

// formOf is the form of a value, and what it holds.
func formOf(value interface{}) (string, interface{}) {
	switch v := value.(type) {
	case nil:
		return "null", nil
	case bool:
		return "bool", v
	case json.Number:
		return "int", v.String()
	case string:
		return "text", v
	case object:
		if repeated, there := v["text_repeated"]; there {
			parts := elements(repeated)
			return "text", strings.Repeat(parts[0].(string), int(integer(parts[1], 0)))
		}
		for form, content := range v {
			if form != "lower_bounds" {
				return form, content
			}
		}
	}
	panic(fmt.Sprintf("not a value: %v", value))
}

func parameters(list interface{}) []*rowgatev1.Value {
	values := []*rowgatev1.Value{}
	for _, one := range elements(list) {
		values = append(values, parameter(one))
	}
	return values
}

// parameter makes a value by Values, the client's own, as far as it goes.
func parameter(one interface{}) *rowgatev1.Value {
	form, content := formOf(one)
	switch form {
	case "null":
		return &rowgatev1.Value{Kind: &rowgatev1.Value_NullValue{}}
	case "bool":
		return &rowgatev1.Value{Kind: &rowgatev1.Value_BoolValue{BoolValue: content == true}}
	case "int":
		if number, err := strconv.ParseInt(text(content), 10, 64); err == nil {
			return Int(number)
		}
	case "float":
		number, err := strconv.ParseFloat(text(content), 64)
		check(err)
		return &rowgatev1.Value{Kind: &rowgatev1.Value_Float64Value{Float64Value: number}}
	case "bytes":
		bytes, err := hex.DecodeString(text(content))
		check(err)
		return &rowgatev1.Value{Kind: &rowgatev1.Value_BytesValue{BytesValue: bytes}}
	case "timestamptz":
		if at, err := time.Parse(instant, text(content)); err == nil {
			return &rowgatev1.Value{Kind: &rowgatev1.Value_TimestampValue{TimestampValue: timestamppb.New(at)}}
		}
	case "array":
		return arrayOf(one.(object))
	case "record":
		record := &rowgatev1.RecordValue{Fields: parameters(content)}
		return &rowgatev1.Value{Kind: &rowgatev1.Value_RecordValue{RecordValue: record}}
	case "reference":
		to := content.(object)
		reference := &rowgatev1.ResultReference{Statement: uint32(integer(to["statement"], 0)), Column: text(to["column"])}
		return &rowgatev1.Value{Kind: &rowgatev1.Value_ResultReference{ResultReference: reference}}
	}
	return Text(text(content))
}

func arrayOf(one object) *rowgatev1.Value {
	array := &rowgatev1.ArrayValue{}
	for level := interface{}(one); ; {
		inner, nested := level.(object)
		if !nested || inner["array"] == nil {
			break
		}
		all := elements(inner["array"])
		array.Dimensions = append(array.Dimensions, int32(len(all)))
		if len(all) == 0 {
			break
		}
		level = all[0]
	}
	for _, bound := range elements(one["lower_bounds"]) {
		array.LowerBounds = append(array.LowerBounds, int32(integer(bound, 1)))
	}
	if len(array.Dimensions) == 1 && array.LowerBounds == nil {
		array.Dimensions = nil
	}
	var flatten func(value interface{})
	flatten = func(value interface{}) {
		if inner, nested := value.(object); nested && inner["array"] != nil {
			for _, one := range elements(inner["array"]) {
				flatten(one)
			}
		} else {
			array.Elements = append(array.Elements, parameter(value))
		}
	}
	flatten(one)
	return &rowgatev1.Value{Kind: &rowgatev1.Value_ArrayValue{ArrayValue: array}}
}

var textForms = map[rowgatev1.DataType]string{
	rowgatev1.DataType_DATA_TYPE_NUMERIC: "numeric", rowgatev1.DataType_DATA_TYPE_UUID: "uuid",
	rowgatev1.DataType_DATA_TYPE_JSON: "json", rowgatev1.DataType_DATA_TYPE_DATE: "date",
	rowgatev1.DataType_DATA_TYPE_TIME: "time", rowgatev1.DataType_DATA_TYPE_TIMETZ: "timetz",
	rowgatev1.DataType_DATA_TYPE_TIMESTAMP: "timestamp", rowgatev1.DataType_DATA_TYPE_TIMESTAMPTZ: "timestamptz",
	rowgatev1.DataType_DATA_TYPE_INTERVAL: "interval", rowgatev1.DataType_DATA_TYPE_ENUM: "enum",
	rowgatev1.DataType_DATA_TYPE_RANGE: "range",
	rowgatev1.DataType_DATA_TYPE_INT16: "int", rowgatev1.DataType_DATA_TYPE_INT32: "int", rowgatev1.DataType_DATA_TYPE_INT64: "int",
}

var whole = regexp.MustCompile(`^-?[0-9]+$`)

// found is a value of a result, as the list writes it.
func found(value *rowgatev1.Value, dataType, element rowgatev1.DataType) interface{} {
	switch kind := value.Kind.(type) {
	case *rowgatev1.Value_NullValue:
		return nil
	case *rowgatev1.Value_BoolValue:
		return kind.BoolValue
	case *rowgatev1.Value_Int64Value:
		return object{"int": strconv.FormatInt(kind.Int64Value, 10)}
	case *rowgatev1.Value_Float64Value:
		return object{"float": strconv.FormatFloat(kind.Float64Value, 'g', -1, 64)}
	case *rowgatev1.Value_BytesValue:
		return object{"bytes": hex.EncodeToString(kind.BytesValue)}
	case *rowgatev1.Value_TimestampValue:
		return object{"timestamptz": (*timestamppb.Timestamp)(kind.TimestampValue).AsTime().Format(instant)}
	case *rowgatev1.Value_TextValue:
		form := textForms[dataType]
		if form == "" || form == "int" && !whole.MatchString(kind.TextValue) {
			form = "text"
		}
		return object{form: kind.TextValue}
	case *rowgatev1.Value_RecordValue:
		fields := []interface{}{}
		for _, field := range kind.RecordValue.Fields {
			fields = append(fields, found(field, rowgatev1.DataType_DATA_TYPE_TEXT, 0))
		}
		return object{"record": fields}
	case *rowgatev1.Value_ArrayValue:
		return foundArray(kind.ArrayValue, element)
	}
	panic(fmt.Sprintf("a result with %v", value))
}

func foundArray(array *rowgatev1.ArrayValue, element rowgatev1.DataType) interface{} {
	level := []interface{}{}
	for _, one := range array.Elements {
		level = append(level, found(one, element, 0))
	}
	for i := len(array.Dimensions) - 1; i > 0; i-- {
		outer := []interface{}{}
		for length := int(array.Dimensions[i]); len(level) > 0; level = level[length:] {
			outer = append(outer, object{"array": level[:length:length]})
		}
		level = outer
	}
	all := object{"array": level}
	for _, bound := range array.LowerBounds {
		if bound != 1 {
			bounds := []interface{}{}
			for _, bound := range array.LowerBounds {
				bounds = append(bounds, json.Number(strconv.Itoa(int(bound))))
			}
			all["lower_bounds"] = bounds
		}
	}
	return all
}

var fraction = regexp.MustCompile(`(\.[0-9]*?)0+($|[^0-9])`)

// same tells if two values of the list are equal by the rules of their form.
func same(expected, got interface{}) bool {
	form, left := formOf(expected)
	gotForm, right := formOf(got)
	if form != gotForm {
		return false
	}
	switch form {
	case "float":
		a, _ := strconv.ParseFloat(text(left), 64)
		b, _ := strconv.ParseFloat(text(right), 64)
		return math.Float64bits(a) == math.Float64bits(b) || a != a && b != b
	case "json":
		return reflect.DeepEqual(document(text(left)), document(text(right)))
	case "time", "timetz", "timestamp", "timestamptz":
		short := func(time interface{}) string {
			return strings.ReplaceAll(fraction.ReplaceAllString(text(time), "$1$2"), ".Z", "Z")
		}
		return strings.TrimSuffix(short(left), ".") == strings.TrimSuffix(short(right), ".")
	case "array", "record":
		a, b := elements(left), elements(right)
		for i := range a {
			if len(a) != len(b) || !same(a[i], b[i]) {
				return false
			}
		}
		bounds := func(value interface{}) interface{} { return value.(object)["lower_bounds"] }
		return len(a) == len(b) && reflect.DeepEqual(bounds(expected), bounds(got))
	}
	return left == right
}

// document reads JSON with numbers of any size.
func document(text string) interface{} {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var parsed interface{}
	if err := decoder.Decode(&parsed); err != nil {
		return err
	}
	var exact func(value interface{}) interface{}
	exact = func(value interface{}) interface{} {
		switch v := value.(type) {
		case json.Number:
			number, _ := new(big.Rat).SetString(v.String())
			return number.RatString()
		case []interface{}:
			for i := range v {
				v[i] = exact(v[i])
			}
		case object:
			for name := range v {
				v[name] = exact(v[name])
			}
		case string:
			return "text " + v
		}
		return value
	}
	return exact(parsed)
}
