// Values of the list: as parameters, and compared with those of results.

#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "rowgate.h"

namespace v1 = rowgate::v1;
using nlohmann::json;

// A text; an empty one where there is none.
std::string text(const json& object, const std::string& member);

// A value as a parameter.
v1::Value parameter(const json& value);

// Appends a list of values to a field of parameters.
template <typename Field>
void add_parameters(const json& step, Field* field) {
  for (const auto& one : step.value("parameters", json::array())) *field->Add() = parameter(one);
}

// A value of a result, as the list writes it.
json found(const v1::Value& value, v1::DataType type, v1::DataType element = v1::DATA_TYPE_UNSPECIFIED);

// True if two values of the list are equal by the rules of their form.
bool same(const json& expected, const json& got);
