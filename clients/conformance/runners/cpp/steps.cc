#include "steps.h"

#include <google/protobuf/util/time_util.h>

#include <thread>

namespace {

using google::protobuf::util::TimeUtil;
using rowgate::check;
using rowgate::milliseconds;

std::unique_ptr<grpc::ClientContext> deadline(const json& step) {
  auto options = step.value("options", json::object());
  return rowgate::within(milliseconds(options.value("deadline_ms", 30000)));
}

void set_settings(const json& given, google::protobuf::RepeatedPtrField<v1::Setting>* settings) {
  for (const auto& [name, value] : given.items()) {
    auto* setting = settings->Add();
    setting->set_name(name);
    setting->set_value(value.get<std::string>());
  }
}

// Fills `options` of a request, where the step has them.
void set_options(const json& step, v1::QueryOptions* options) {
  const auto& given = step["options"];
  if (given.contains("timeout_ms")) *options->mutable_timeout() = TimeUtil::MillisecondsToDuration(given["timeout_ms"]);
  options->set_max_rows(given.value("max_rows", 0));
  options->set_max_bytes(given.value("max_bytes", 0));
  if (given.value("read_only", false)) options->set_access_mode(v1::ACCESS_MODE_READ_ONLY);
  options->set_tag(text(given, "tag"));
  options->set_idempotent(given.value("idempotent", false));
  options->set_idempotency_key(text(given, "key"));
  set_settings(given.value("settings", json::object()), options->mutable_settings());
}

void set_transaction(const json& given, v1::TransactionOptions* options) {
  auto isolation = text(given, "isolation");
  if (isolation == "read_committed") options->set_isolation_level(v1::ISOLATION_LEVEL_READ_COMMITTED);
  if (isolation == "repeatable_read") options->set_isolation_level(v1::ISOLATION_LEVEL_REPEATABLE_READ);
  if (isolation == "serializable") options->set_isolation_level(v1::ISOLATION_LEVEL_SERIALIZABLE);
  if (given.value("read_only", false)) options->set_access_mode(v1::ACCESS_MODE_READ_ONLY);
  options->set_deferrable(given.value("deferrable", false));
  auto duration = [&](const char* name) { return TimeUtil::MillisecondsToDuration(given[name]); };
  if (given.contains("idle_timeout_ms")) *options->mutable_idle_timeout() = duration("idle_timeout_ms");
  if (given.contains("max_duration_ms")) *options->mutable_max_duration() = duration("max_duration_ms");
}

v1::QueryRequest request(const json& step) {
  v1::QueryRequest request;
  request.set_sql(text(step, "sql"));
  add_parameters(step, request.mutable_parameters());
  if (!step.contains("options")) return request;
  request.set_database(text(step["options"], "database"));
  set_options(step, request.mutable_options());
  return request;
}

v1::BatchStatement statement(const json& one) {
  v1::BatchStatement statement;
  statement.set_sql(text(one, "sql"));
  add_parameters(one, statement.mutable_parameters());
  auto expect = one.value("expect_rows", json::object());
  if (expect.contains("exactly")) statement.mutable_expect()->set_exactly(expect["exactly"]);
  if (expect.contains("at_least")) statement.mutable_expect()->set_at_least(expect["at_least"]);
  if (expect.contains("at_most")) statement.mutable_expect()->set_at_most(expect["at_most"]);
  return statement;
}

template <typename Batch>
void add_statements(const json& step, Batch* batch) {
  for (const auto& one : step["statements"]) {
    for (int times = one.value("times", 1); times > 0; --times) *batch->add_statements() = statement(one);
  }
}

v1::CopyFormat format(const json& step) {
  auto name = text(step, "format");
  return name == "csv" ? v1::COPY_FORMAT_CSV : name == "text" ? v1::COPY_FORMAT_TEXT : v1::COPY_FORMAT_ROWS;
}

template <typename Request>
void set_copy(const json& step, Request* copy) {
  copy->set_table(text(step, "table"));
  for (const auto& column : step.value("columns", json::array())) copy->add_columns(column.get<std::string>());
  copy->set_format(format(step));
  if (step.contains("options")) set_options(step, copy->mutable_options());
  if (format(step) == v1::COPY_FORMAT_ROWS) return;
  copy->mutable_text()->set_header(step.value("header", false));
  copy->mutable_text()->set_delimiter(text(step, "delimiter"));
  if (step.contains("null_text")) copy->mutable_text()->set_null_text(text(step, "null_text"));
}

template <typename Rows>
void append(const Rows& rows, std::vector<v1::Row>* all) {
  all->insert(all->end(), rows.begin(), rows.end());
}

}  // namespace

Opened::~Opened() {
  if (is_over) return;
  context->TryCancel();
  v1::TransactResponse ignored;
  while (stream->Read(&ignored)) {
  }
  stream->Finish();
}

v1::TransactResponse Opened::ask(v1::TransactRequest command) {
  command.set_sequence(++sequence);
  stream->Write(command);  // where that fails, the status, which reply throws, says why
  return reply();
}

v1::TransactResponse Opened::reply() {
  v1::TransactResponse reply;
  if (!stream->Read(&reply)) {
    is_over = true;
    check(stream->Finish());
    throw std::runtime_error("the transaction is over");
  }
  if (reply.has_error()) throw rowgate::Error(reply.error());
  return reply;
}

void Opened::finish() {
  stream->WritesDone();
  v1::TransactResponse more;
  bool has_more = stream->Read(&more);
  is_over = true;
  check(stream->Finish());
  if (has_more) throw std::runtime_error("a reply after the end");
}

void Steps::run(const json& one) {
  for (const auto& sql : one.value("setup", json::array())) query({{"sql", sql}});
  for (std::size_t i = 0; i < one["steps"].size(); ++i) {
    const auto& step = one["steps"][i];
    auto start = std::chrono::steady_clock::now();
    try {
      for (int times = step.value("times", 1); times > 0; --times) this->step(step);
    } catch (const std::exception& error) {
      throw std::runtime_error("step " + std::to_string(i) + ": " + error.what());
    }
    auto took = std::chrono::steady_clock::now() - start;
    if (took > milliseconds(step.value("within_ms", 60000))) {
      auto count = std::chrono::duration_cast<milliseconds>(took).count();
      throw std::runtime_error("step " + std::to_string(i) + ": it took " + std::to_string(count) + " ms");
    }
  }
}

void Steps::step(const json& step) {
  auto name = text(step, "do");
  if (name == "echo") return echo(step);
  if (name == "cancel") return cancel(step);
  if (name == "pause") return std::this_thread::sleep_for(milliseconds(step["ms"].get<int>()));
  if (name == "abandon") return static_cast<void>(open_.erase(text(step, "in")));
  auto expect = step.value("expect", json::object());
  std::optional<Answer> answer;
  try {
    answer = this->answer(step);
  } catch (const rowgate::Error& error) {
    return compare(expect, error);
  }
  compare(expect, *answer);
}

Answer Steps::answer(const json& step) {
  auto name = text(step, "do");
  if (name == "query") return step.contains("in") ? query_in(step) : query(step);
  if (name == "stream") return stream(step);
  if (name == "batch") return step.contains("in") ? batch_in(step) : batch(step);
  if (name == "begin") return begin(step);
  if (name == "outcome") return outcome(step);
  if (name == "describe") return describe(step);
  if (name == "copy_in") return copy_in(step);
  if (name == "copy_out") return copy_out(step);
  return command(step);
}

Opened& Steps::opened(const json& step) { return *open_.at(text(step, "in")); }

Answer Steps::query(const json& step) {
  v1::QueryResponse answer;
  check(stub_.Query(deadline(step).get(), request(step), &answer));
  return Answer(answer.result(), {{"replayed", answer.replayed()}});
}

Answer Steps::query_in(const json& step) {
  v1::TransactRequest command;
  command.mutable_query()->set_sql(text(step, "sql"));
  add_parameters(step, command.mutable_query()->mutable_parameters());
  if (step.contains("options")) set_options(step, command.mutable_query()->mutable_options());
  auto& transaction = opened(step);
  v1::ResultSet whole;
  for (auto reply = transaction.ask(command);; reply = transaction.reply()) {
    whole.MergeFrom(reply.result().result_set());
    if (!reply.result().more()) return Answer(whole);
  }
}

Answer Steps::stream(const json& step) {
  v1::StreamQueryRequest streamed;
  *streamed.mutable_query() = request(step);
  auto context = deadline(step);
  auto reader = stub_.StreamQuery(context.get(), streamed);
  Answer answer;
  std::size_t most = step.value("read", SIZE_MAX);
  bool is_complete = false;
  v1::StreamQueryResponse part;
  while (reader->Read(&part)) {
    if (part.has_header()) answer.columns.assign(part.header().columns().begin(), part.header().columns().end());
    append(part.rows().rows(), &answer.rows);
    if (part.has_summary()) {
      is_complete = part.summary().row_count() == answer.rows.size();
      answer.members = {{"rows_affected", part.summary().rows_affected()}, {"command", part.summary().command()}};
    }
    if (answer.rows.size() >= most) {
      answer.rows.resize(most);
      context->TryCancel();
      while (reader->Read(&part)) {
      }
      reader->Finish();
      return answer;
    }
  }
  check(reader->Finish());
  if (!is_complete) throw std::runtime_error("the stream is incomplete");
  return answer;
}

void Steps::echo(const json& step) {
  for (const auto& value : step["values"]) {
    json expect = {{"rows", json::array({json::array({value})})}};
    if (step.contains("type")) expect["columns"] = json::array({{{"type", step["type"]}}});
    json one = {{"sql", step["sql"]}, {"parameters", json::array({value})}};
    try {
      compare(expect, query(one));
    } catch (const std::exception& error) {
      throw std::runtime_error(value.dump().substr(0, 200) + ": " + error.what());
    }
  }
}

Answer Steps::batch(const json& step) {
  v1::ExecuteBatchRequest batch;
  add_statements(step, &batch);
  if (step.contains("transaction")) set_transaction(step["transaction"], batch.mutable_transaction());
  if (step.contains("options")) {
    batch.set_database(text(step["options"], "database"));
    set_options(step, batch.mutable_options());
  }
  batch.set_dry_run(step.value("dry_run", false));
  v1::ExecuteBatchResponse reply;
  check(stub_.ExecuteBatch(deadline(step).get(), batch, &reply));
  Answer answer;
  answer.results.assign(reply.results().begin(), reply.results().end());
  answer.members = {{"replayed", reply.replayed()}};
  return answer;
}

Answer Steps::batch_in(const json& step) {
  v1::TransactRequest command;
  add_statements(step, command.mutable_batch());
  if (step.contains("options")) set_options(step, command.mutable_batch()->mutable_options());
  auto reply = opened(step).ask(command);
  Answer answer;
  answer.results.assign(reply.batch_result().results().begin(), reply.batch_result().results().end());
  return answer;
}

Answer Steps::begin(const json& step) {
  v1::TransactRequest command;
  auto* begin = command.mutable_begin();
  begin->set_database(text(step, "database"));
  begin->set_idempotency_key(text(step, "key"));
  begin->set_tag(text(step, "tag"));
  set_settings(step.value("settings", json::object()), begin->mutable_settings());
  if (step.contains("transaction")) set_transaction(step["transaction"], begin->mutable_transaction());
  auto transaction = std::make_unique<Opened>();
  transaction->context = deadline(json::object());
  transaction->stream = stub_.Transact(transaction->context.get());
  transaction->ask(command);
  open_[text(step, "as")] = std::move(transaction);
  return {};
}

Answer Steps::command(const json& step) {
  auto name = text(step, "do");
  v1::TransactRequest command;
  if (name == "savepoint") command.mutable_savepoint()->set_name(text(step, "name"));
  if (name == "rollback_to") command.mutable_rollback_to()->set_name(text(step, "name"));
  if (name == "release") command.mutable_release()->set_name(text(step, "name"));
  if (name == "commit") command.mutable_commit();
  if (name == "rollback") command.mutable_rollback();
  bool is_last = name == "commit" || name == "rollback" || name == "close";
  if (name != "close" && command.command_case() == v1::TransactRequest::COMMAND_NOT_SET) {
    throw std::runtime_error("an unknown step: " + name);
  }
  if (name != "close") opened(step).ask(command);
  if (is_last) opened(step).finish();
  return {};
}

Answer Steps::outcome(const json& step) {
  v1::GetTransactionOutcomeRequest request;
  request.set_database(text(step, "database"));
  request.set_idempotency_key(text(step, "key"));
  v1::GetTransactionOutcomeResponse reply;
  check(stub_.GetTransactionOutcome(deadline(step).get(), request, &reply));
  Answer answer;
  answer.members = {{"state", v1::TransactionState_Name(reply.state()).substr(sizeof("TRANSACTION_STATE_") - 1)}};
  return answer;
}

Answer Steps::describe(const json& step) {
  v1::DescribeStatementRequest request;
  request.set_sql(text(step, "sql"));
  v1::DescribeStatementResponse reply;
  check(stub_.DescribeStatement(deadline(step).get(), request, &reply));
  Answer answer;
  answer.columns.assign(reply.columns().begin(), reply.columns().end());
  std::vector<v1::Column> types;
  for (const auto& one : reply.parameter_types()) {
    types.emplace_back();
    types.back().set_type(one.type());
    types.back().set_element_type(one.element_type());
    types.back().set_type_name(one.type_name());
  }
  answer.members = {{"read_only", reply.read_only()}, {"parameter_types", described(types)}};
  return answer;
}

Answer Steps::copy_in(const json& step) {
  std::vector<v1::CopyInRequest> parts(1);
  set_copy(step, parts[0].mutable_start());
  if (!text(step, "data").empty()) parts.emplace_back().set_data(text(step, "data"));
  for (const auto& row : step.value("rows", json::array())) {
    auto* made = parts.emplace_back().mutable_rows()->add_rows();
    for (const auto& value : row) *made->add_values() = parameter(value);
  }
  parts.emplace_back().mutable_end();
  v1::CopyInResponse reply;
  auto context = deadline(step);
  auto writer = stub_.CopyIn(context.get(), &reply);
  for (const auto& part : parts) {
    if (!writer->Write(part)) break;  // the status says why
  }
  writer->WritesDone();
  check(writer->Finish());
  Answer answer;
  answer.members = {{"rows_affected", reply.rows_affected()}, {"replayed", reply.replayed()}};
  return answer;
}

Answer Steps::copy_out(const json& step) {
  v1::CopyOutRequest copy;
  set_copy(step, &copy);
  copy.set_sql(text(step, "sql"));
  add_parameters(step, copy.mutable_parameters());
  auto context = deadline(step);
  auto reader = stub_.CopyOut(context.get(), copy);
  Answer answer;
  std::string data;
  v1::CopyOutResponse part;
  while (reader->Read(&part)) {
    if (part.has_header()) answer.columns.assign(part.header().columns().begin(), part.header().columns().end());
    append(part.rows().rows(), &answer.rows);
    data += part.data();
    if (part.has_summary()) answer.members["row_count"] = part.summary().row_count();
  }
  check(reader->Finish());
  answer.members["data"] = data;
  return answer;
}

void Steps::cancel(const json& step) {
  auto context = rowgate::within(std::chrono::minutes(1));
  std::thread timer([&] {
    std::this_thread::sleep_for(milliseconds(step["after_ms"].get<int>()));
    context->TryCancel();
  });
  v1::QueryResponse answer;
  auto status = stub_.Query(context.get(), request(step), &answer);
  timer.join();
  if (status.error_code() != grpc::CANCELLED) throw std::runtime_error("it ended by itself: " + status.error_message());
}
