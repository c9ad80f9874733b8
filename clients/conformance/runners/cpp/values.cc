#include "values.h"

#include <google/protobuf/util/time_util.h>

#include <cmath>
#include <cstring>
#include <iomanip>
#include <map>
#include <regex>
#include <sstream>

namespace {

using google::protobuf::util::TimeUtil;

// The form of a value, and what it holds.
std::pair<std::string, json> form_of(const json& value) {
  if (value.is_null()) return {"null", nullptr};
  if (value.is_boolean()) return {"bool", value};
  if (value.is_number()) return {"int", value.dump()};
  if (value.is_string()) return {"text", value};
  if (value.contains("text_repeated")) {
    std::string all;
    for (int i = 0; i < value["text_repeated"][1].get<int>(); ++i) all += value["text_repeated"][0].get<std::string>();
    return {"text", all};
  }
  for (const auto& [form, content] : value.items()) {
    if (form != "lower_bounds") return {form, content};
  }
  throw std::runtime_error("not a value: " + value.dump());
}

std::string bytes_of(const std::string& hex) {
  std::string bytes;
  for (std::size_t i = 0; i < hex.size(); i += 2) bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return bytes;
}

std::string hex_of(const std::string& bytes) {
  std::ostringstream hex;
  for (unsigned char byte : bytes) hex << std::hex << std::setw(2) << std::setfill('0') << static_cast<int>(byte);
  return hex.str();
}

bool is_array(const json& value) { return value.is_object() && value.contains("array"); }

void flatten(const json& value, v1::ArrayValue* array) {
  if (!is_array(value)) {
    *array->add_elements() = parameter(value);
    return;
  }
  for (const auto& inner : value["array"]) flatten(inner, array);
}

v1::Value array_of(const json& value) {
  v1::Value made;
  auto* array = made.mutable_array_value();
  const json* level = &value;
  while (is_array(*level)) {
    array->add_dimensions(static_cast<int>((*level)["array"].size()));
    if ((*level)["array"].empty()) break;
    level = &(*level)["array"][0];
  }
  for (const auto& bound : value.value("lower_bounds", json::array())) array->add_lower_bounds(bound.get<int>());
  if (array->dimensions_size() == 1 && array->lower_bounds_size() == 0) array->clear_dimensions();
  flatten(value, array);
  return made;
}

std::string form_of_text(const std::string& text, v1::DataType type) {
  static const std::map<v1::DataType, std::string> forms = {
      {v1::DATA_TYPE_NUMERIC, "numeric"},     {v1::DATA_TYPE_UUID, "uuid"},
      {v1::DATA_TYPE_JSON, "json"},           {v1::DATA_TYPE_DATE, "date"},
      {v1::DATA_TYPE_TIME, "time"},           {v1::DATA_TYPE_TIMETZ, "timetz"},
      {v1::DATA_TYPE_TIMESTAMP, "timestamp"}, {v1::DATA_TYPE_TIMESTAMPTZ, "timestamptz"},
      {v1::DATA_TYPE_INTERVAL, "interval"},   {v1::DATA_TYPE_ENUM, "enum"},
      {v1::DATA_TYPE_RANGE, "range"},
  };
  static const std::regex whole("-?[0-9]+");
  bool is_integer = type == v1::DATA_TYPE_INT16 || type == v1::DATA_TYPE_INT32 || type == v1::DATA_TYPE_INT64;
  if (is_integer && text.size() < 100 && std::regex_match(text, whole)) return "int";
  auto form = forms.find(type);
  return form == forms.end() ? "text" : form->second;
}

json found_array(const v1::ArrayValue& array, v1::DataType element) {
  json level = json::array();
  for (const auto& one : array.elements()) level.push_back(found(one, element));
  for (int i = array.dimensions_size() - 1; i > 0; --i) {
    json outer = json::array();
    for (std::size_t at = 0; at < level.size(); at += array.dimensions(i)) {
      json inner(level.begin() + at, level.begin() + at + array.dimensions(i));
      outer.push_back({{"array", inner}});
    }
    level = outer;
  }
  json all = {{"array", level}};
  std::vector<int> bounds(array.lower_bounds().begin(), array.lower_bounds().end());
  if (std::any_of(bounds.begin(), bounds.end(), [](int bound) { return bound != 1; })) all["lower_bounds"] = bounds;
  return all;
}

// A decimal number, the same text for the same number: its sign, its digits and the power of ten behind them.
std::string exact(const std::string& number) {
  auto e = number.find_first_of("eE");
  auto mantissa = number.substr(0, e);
  long power = e == std::string::npos ? 0 : std::stol(number.substr(e + 1));
  std::string sign = mantissa[0] == '-' ? "-" : "";
  std::string digits;
  bool is_behind = false;
  for (char c : mantissa) {
    if (c == '.') is_behind = true;
    if (!std::isdigit(c)) continue;
    digits += c;
    power -= is_behind;
  }
  while (!digits.empty() && digits.back() == '0') digits.pop_back(), ++power;
  digits.erase(0, digits.find_first_not_of('0'));
  return digits.empty() ? "0" : sign + digits + "e" + std::to_string(power);
}

// A document in which texts in a list stand for its numbers, of any size.
json document(const std::string& text) {
  std::string copy;
  for (std::size_t i = 0; i < text.size();) {
    if (text[i] == '"') {
      auto start = i++;
      while (i < text.size() && text[i] != '"') i += text[i] == '\\' ? 2 : 1;
      copy += text.substr(start, ++i - start);
    } else if (text[i] == '-' || std::isdigit(text[i])) {
      auto end = text.find_first_not_of("+-.0123456789eE", i);
      copy += "[[\"" + exact(text.substr(i, end - i)) + "\"]]";
      i = std::min(end, text.size());
    } else {
      copy += text[i++];
    }
  }
  return json::parse(copy);
}

// A time without zeros at the end of its fraction.
std::string without_zeros(const std::string& time) {
  auto point = time.find('.');
  if (point == std::string::npos) return time;
  auto end = std::min(time.find_first_not_of("0123456789", point + 1), time.size());
  auto fraction = time.substr(point, end - point);
  while (fraction.back() == '0' || fraction == ".") {
    fraction.pop_back();
    if (fraction.empty()) break;
  }
  return time.substr(0, point) + fraction + time.substr(end);
}

bool same_float(const json& left, const json& right) {
  auto number = [](const json& text) { return std::strtod(text.get<std::string>().c_str(), nullptr); };
  double a = number(left), b = number(right);
  return (std::isnan(a) && std::isnan(b)) || std::memcmp(&a, &b, sizeof a) == 0;
}

}  // namespace

std::string text(const json& object, const std::string& member) { return object.value(member, ""); }

v1::Value parameter(const json& value) {
  auto [form, content] = form_of(value);
  v1::Value made;
  if (form == "null") {
    made.set_null_value(google::protobuf::NULL_VALUE);
  } else if (form == "bool") {
    made.set_bool_value(content.get<bool>());
  } else if (form == "int") {
    try {
      return rowgate::value(static_cast<std::int64_t>(std::stoll(content.get<std::string>())));
    } catch (const std::out_of_range&) {  // the database reads it
      return rowgate::value(content.get<std::string>());
    }
  } else if (form == "float") {
    // Not stod, which refuses numbers that are not normal.
    made.set_float64_value(std::strtod(content.get<std::string>().c_str(), nullptr));
  } else if (form == "bytes") {
    made.set_bytes_value(bytes_of(content));
  } else if (form == "timestamptz" && content.get<std::string>().back() == 'Z') {
    TimeUtil::FromString(content.get<std::string>(), made.mutable_timestamp_value());
  } else if (form == "array") {
    return array_of(value);
  } else if (form == "record") {
    made.mutable_record_value();
    for (const auto& field : content) *made.mutable_record_value()->add_fields() = parameter(field);
  } else if (form == "reference") {
    made.mutable_result_reference()->set_statement(content["statement"].get<std::uint32_t>());
    made.mutable_result_reference()->set_column(content["column"].get<std::string>());
  } else {
    return rowgate::value(content.get<std::string>());
  }
  return made;
}

json found(const v1::Value& value, v1::DataType type, v1::DataType element) {
  switch (value.kind_case()) {
    case v1::Value::kNullValue:
      return nullptr;
    case v1::Value::kBoolValue:
      return value.bool_value();
    case v1::Value::kInt64Value:
      return {{"int", std::to_string(value.int64_value())}};
    case v1::Value::kFloat64Value: {
      std::ostringstream text;
      text << std::setprecision(17) << value.float64_value();
      return {{"float", text.str()}};
    }
    case v1::Value::kBytesValue:
      return {{"bytes", hex_of(value.bytes_value())}};
    case v1::Value::kTimestampValue:
      return {{"timestamptz", TimeUtil::ToString(value.timestamp_value())}};
    case v1::Value::kTextValue:
      return {{form_of_text(value.text_value(), type), value.text_value()}};
    case v1::Value::kArrayValue:
      return found_array(value.array_value(), element);
    case v1::Value::kRecordValue: {
      json fields = json::array();
      for (const auto& field : value.record_value().fields()) fields.push_back(found(field, v1::DATA_TYPE_TEXT));
      return {{"record", fields}};
    }
    default:
      throw std::runtime_error("a result with " + value.ShortDebugString());
  }
}

bool same(const json& expected, const json& got) {
  auto [form, left] = form_of(expected);
  auto [got_form, right] = form_of(got);
  if (form != got_form) return false;
  if (form == "float") return same_float(left, right);
  if (form == "json") return document(left) == document(right);
  if (form.rfind("time", 0) == 0) return without_zeros(left) == without_zeros(right);
  if (form != "array" && form != "record") return left == right;
  if (left.size() != right.size() || expected.value("lower_bounds", json()) != got.value("lower_bounds", json())) return false;
  return std::equal(left.begin(), left.end(), right.begin(), same);
}
