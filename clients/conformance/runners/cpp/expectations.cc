#include "rowgate/v1/error.pb.h"
#include "steps.h"

namespace {

const char* const kCodes[] = {
    "OK",           "CANCELLED",         "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED", "NOT_FOUND",
    "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED",           "OUT_OF_RANGE",
    "UNIMPLEMENTED", "INTERNAL",          "UNAVAILABLE",       "DATA_LOSS",          "UNAUTHENTICATED",
};

json row_of(const Answer& answer, std::size_t index) {
  json row = json::array();
  for (int i = 0; i < answer.rows[index].values_size(); ++i) {
    const auto& column = answer.columns.at(i);
    row.push_back(found(answer.rows[index].values(i), column.type(), column.element_type()));
  }
  return row;
}

bool is_row(const json& expected, const Answer& answer, std::size_t index) {
  if (index >= answer.rows.size()) return false;
  auto row = row_of(answer, index);
  return row.size() == expected.size() && std::equal(row.begin(), row.end(), expected.begin(), [](auto& got, auto& one) {
           return same(one, got);
         });
}

bool are_columns(const json& wanted, const json& columns) {
  return wanted.size() == columns.size() && std::equal(wanted.begin(), wanted.end(), columns.begin(), [](auto& one, auto& column) {
           for (const auto& [name, value] : one.items()) {
             if (column.value(name, json()) != value) return false;
           }
           return true;
         });
}

bool is_as_wanted(const std::string& member, const json& wanted, const Answer& answer) {
  if (member == "rows") {
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      if (!is_row(wanted[i], answer, i)) return false;
    }
    return wanted.size() == answer.rows.size();
  }
  if (member == "first_row") return is_row(wanted, answer, 0);
  if (member == "last_row") return !answer.rows.empty() && is_row(wanted, answer, answer.rows.size() - 1);
  if (member == "row_count") return answer.members.value(member, json(answer.rows.size())) == wanted;
  if (member == "columns") return are_columns(wanted, described(answer.columns));
  if (member == "parameter_types") return are_columns(wanted, answer.members[member]);
  return answer.members.value(member, json()) == wanted;
}

std::string shown(const std::string& member, const Answer& answer) {
  json all = {{"columns", described(answer.columns)}, {"members", answer.members}, {"rows", answer.rows.size()}};
  if (member.find("row") != std::string::npos) {
    for (std::size_t i = 0; i < std::min<std::size_t>(answer.rows.size(), 5); ++i) all["first"].push_back(row_of(answer, i));
  }
  return all.dump().substr(0, 1500);
}

}  // namespace

Answer::Answer(const v1::ResultSet& result, json members)
    : columns(result.columns().begin(), result.columns().end()),
      rows(result.rows().begin(), result.rows().end()),
      members(std::move(members)) {
  this->members["rows_affected"] = result.rows_affected();
  this->members["command"] = result.command();
}

json described(const std::vector<v1::Column>& columns) {
  auto type = [](v1::DataType type) { return v1::DataType_Name(type).substr(sizeof("DATA_TYPE_") - 1); };
  json all = json::array();
  for (const auto& column : columns) {
    all.push_back({{"name", column.name()},
                   {"type", type(column.type())},
                   {"element_type", type(column.element_type())},
                   {"type_name", column.type_name()}});
  }
  return all;
}

void compare(const json& expect, const Answer& answer) {
  if (expect.contains("error")) throw std::runtime_error("it did not fail with " + expect["error"].dump());
  for (const auto& [member, wanted] : expect.items()) {
    if (member == "results") {
      if (wanted.size() != answer.results.size()) throw std::runtime_error("another number of results");
      for (std::size_t i = 0; i < wanted.size(); ++i) compare(wanted[i], Answer(answer.results[i]));
    } else if (!is_as_wanted(member, wanted, answer)) {
      throw std::runtime_error(member + ": wanted " + wanted.dump() + ", found " + shown(member, answer));
    }
  }
}

void compare(const json& expect, const rowgate::Error& error) {
  v1::DatabaseError database;
  google::rpc::BadRequest bad;
  for (const auto& detail : error.status.details()) {
    if (!detail.UnpackTo(&database)) detail.UnpackTo(&bad);
  }
  json fields = json::array();
  for (const auto& violation : bad.field_violations()) fields.push_back(violation.field());
  auto told = error.reason + ": " + error.what() + " " + database.ShortDebugString();
  if (!expect.contains("error")) throw std::runtime_error("it failed: " + told);
  json has = {
      {"code", kCodes[error.status.code()]},  {"reason", error.reason},           {"outcome", error.outcome},
      {"sqlstate", database.sqlstate()},      {"constraint", database.constraint()}, {"schema", database.schema()},
      {"table", database.table()},            {"column", database.column()},      {"position", database.position()},
      {"line", database.line()},              {"fields", fields},                 {"retryable", error.retry_delay.has_value()},
  };
  if (database.has_failed_statement()) has["failed_statement"] = database.failed_statement();
  for (const auto& [member, wanted] : expect["error"].items()) {
    bool is_right = member == "without" ? told.find(wanted.get<std::string>()) == std::string::npos : has[member] == wanted;
    if (wanted.is_array() && member != "fields") {
      for (const auto& one : wanted) is_right = is_right || has[member] == one;
    }
    if (!is_right) throw std::runtime_error(member + ": wanted " + wanted.dump() + ", found " + has.dump() + " " + told);
  }
}
