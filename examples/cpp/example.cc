// A tour of Rowgate: each step prints one line, and the first that is not as it should be ends the program.
//
// Usage: example [ADDRESS]

#include <cstdlib>
#include <iostream>
#include <random>
#include <thread>

#include "grpc/health/v1/health.grpc.pb.h"
#include "rowgate.h"

using namespace std::chrono_literals;
namespace v1 = rowgate::v1;

namespace {

const std::string table = "example_cpp";
const std::string insert = "insert into " + table + " (id, owner, cents) values ($1, $2, $3)";

void show(const std::string& step, const std::string& got, const std::string& wanted) {
  if (got != wanted) throw std::runtime_error(step + ": got " + got + ", wanted " + wanted);
  std::cout << step << ": " << got << std::endl;
}

// The error that `work` fails with.
template <typename Work>
rowgate::Error failure(Work work) {
  try {
    work();
  } catch (const rowgate::Error& error) {
    return error;
  }
  throw std::runtime_error("it did not fail");
}

// A QueryRequest, a BatchStatement or a TransactQuery.
template <typename Statement, typename... Values>
Statement statement(const std::string& sql, const Values&... values) {
  Statement statement;
  statement.set_sql(sql);
  rowgate::add_parameters(statement, values...);
  return statement;
}

v1::ResultSet run(v1::DatabaseService::Stub& stub, const v1::QueryRequest& request,
                  rowgate::milliseconds timeout = 2s) {
  v1::QueryResponse answer;
  rowgate::check(stub.Query(rowgate::within(timeout).get(), request, &answer));
  return answer.result();
}

v1::ExecuteBatchResponse run(v1::DatabaseService::Stub& stub, const v1::ExecuteBatchRequest& batch) {
  v1::ExecuteBatchResponse answer;
  rowgate::check(stub.ExecuteBatch(rowgate::within(5s).get(), batch, &answer));
  return answer;
}

std::string balances(v1::DatabaseService::Stub& stub) {
  std::string balances;
  auto sql = "select owner, cents from " + table + " order by id";
  auto result = run(stub, statement<v1::QueryRequest>(sql));
  for (const auto& row : result.rows()) {
    balances += balances.empty() ? "" : ", ";
    balances += row.values(0).text_value() + " " + std::to_string(row.values(1).int64_value());
  }
  return balances;
}

void health(const std::shared_ptr<grpc::Channel>& channel) {
  grpc::health::v1::HealthCheckRequest request;
  grpc::health::v1::HealthCheckResponse answer;
  request.set_service("rowgate.v1.DatabaseService");
  auto stub = grpc::health::v1::Health::NewStub(channel);
  rowgate::check(stub->Check(rowgate::within(5s).get(), request, &answer));
  show("health", grpc::health::v1::HealthCheckResponse::ServingStatus_Name(answer.status()), "SERVING");
}

// A table is created outside of batches and transactions: MySQL and MariaDB would commit them.
void make_table(v1::DatabaseService::Stub& stub) {
  auto columns = std::string(" (id bigint primary key, owner text not null, cents bigint not null)");
  run(stub, statement<v1::QueryRequest>("drop table if exists " + table));
  run(stub, statement<v1::QueryRequest>("create table " + table + columns));
  v1::ExecuteBatchRequest batch;
  for (const auto& one : {
           statement<v1::BatchStatement>(insert, 1, "ann", 1000),
           statement<v1::BatchStatement>(insert, 2, "bob", 500),
       }) {
    *batch.add_statements() = one;
  }
  run(stub, batch);
}

void query(v1::DatabaseService::Stub& stub) {
  auto sql = "select owner, cents from " + table + " where owner = $1 and cents >= $2";
  auto row = run(stub, statement<v1::QueryRequest>(sql, "ann", 1000)).rows(0);
  show("query", row.values(0).text_value() + " has " + std::to_string(row.values(1).int64_value()), "ann has 1000");
}

// A result of any size, in constant memory; it is complete only with its summary.
void stream(v1::DatabaseService::Stub& stub) {
  v1::StreamQueryRequest request;
  *request.mutable_query() = statement<v1::QueryRequest>(
      "with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < $1)"
      " select n from numbers",
      10000);
  auto context = rowgate::within(30s);
  auto reader = stub.StreamQuery(context.get(), request);
  std::int64_t sum = 0;
  std::optional<v1::ResultSummary> summary;
  v1::StreamQueryResponse part;
  while (reader->Read(&part)) {
    for (const auto& row : part.rows().rows()) sum += row.values(0).int64_value();
    if (part.has_summary()) summary = part.summary();
  }
  rowgate::check(reader->Finish());
  if (!summary) throw std::runtime_error("the stream is incomplete");
  show("stream", std::to_string(summary->row_count()) + " rows, sum " + std::to_string(sum),
       "10000 rows, sum 50005000");
}

// All or nothing, and once: with the key it may be sent again whatever became of the first call.
void batch_with_key(v1::DatabaseService::Stub& stub) {
  v1::ExecuteBatchRequest transfer;
  *transfer.add_statements() = statement<v1::BatchStatement>(
      "update " + table + " set cents = cents - $1 where id = $2 and cents >= $1", 300, 1);
  *transfer.add_statements() =
      statement<v1::BatchStatement>("update " + table + " set cents = cents + $1 where id = $2", 300, 2);
  for (auto& one : *transfer.mutable_statements()) one.mutable_expect()->set_exactly(1);
  std::random_device random;
  auto key = "transfer-" + std::to_string(random()) + "-" + std::to_string(random());
  transfer.mutable_options()->set_idempotency_key(key);
  auto name = [](bool replayed) { return replayed ? "true" : "false"; };
  auto first = run(stub, transfer);
  auto again = run(stub, transfer);
  show("batch",
       std::string("replayed ") + name(first.replayed()) + ", then " + name(again.replayed()) + ", " + balances(stub),
       "replayed false, then true, ann 700, bob 800");
}

void transaction_with_savepoint(v1::DatabaseService::Stub& stub) {
  using Query = v1::TransactQuery;
  rowgate::Transaction transaction(stub);
  auto rows = transaction.query(statement<Query>("select cents from " + table + " where id = $1", 1));
  auto half = rows.at(0).values(0).int64_value() / 2;
  transaction.query(statement<Query>("update " + table + " set cents = $1 where id = $2", half, 1));
  auto undone = failure([&] {
    transaction.savepoint("before_insert", [&] { transaction.query(statement<Query>(insert, 2, "bob", 0)); });
  });
  transaction.commit();
  show("transaction", undone.reason + " undone, " + balances(stub), "UNIQUE_VIOLATION undone, ann 350, bob 800");
}

void error_details(v1::DatabaseService::Stub& stub) {
  auto error = failure([&] { run(stub, statement<v1::QueryRequest>(insert, 1, "ann", 0)); });
  if (error.code != grpc::ALREADY_EXISTS) throw error;
  show("error", "ALREADY_EXISTS " + error.reason + " " + error.outcome, "ALREADY_EXISTS UNIQUE_VIOLATION NOT_APPLIED");
}

// The server rolls back a transaction that is silent for too long; RetryInfo says when to begin again.
void transaction_again(v1::DatabaseService::Stub& stub) {
  v1::Begin begin;
  begin.mutable_transaction()->mutable_idle_timeout()->set_nanos(100000000);
  std::string failures;
  rowgate::retrying([&] {
    try {
      rowgate::Transaction transaction(stub, begin);
      if (failures.empty()) std::this_thread::sleep_for(500ms);
      auto sql = "update " + table + " set cents = cents + 1 where id = $1";
      transaction.query(statement<v1::TransactQuery>(sql, 1));
      transaction.commit();
    } catch (const rowgate::Error& error) {
      failures += error.reason + " " + error.outcome + ", ";
      throw;
    }
  });
  show("retry", failures + balances(stub), "IDLE_IN_TRANSACTION_TIMEOUT NOT_APPLIED, ann 351, bob 800");
}

// The statement ends in the database, too, and the answer says so just before the deadline.
void deadline(v1::DatabaseService::Stub& stub) {
  auto endless = statement<v1::QueryRequest>(
      "with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < 1000000000)"
      " select count(*) from numbers");
  auto error = failure([&] { run(stub, endless, 500ms); });
  if (error.code != grpc::DEADLINE_EXCEEDED) throw error;
  show("deadline", "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED");
}

std::string variable(const char* name, const std::string& otherwise = "") {
  const char* set = std::getenv(name);
  return set ? set : otherwise;
}

}  // namespace

int main(int argc, char** argv) try {
  auto address = argc > 1 ? argv[1] : variable("ROWGATE_ADDRESS", "127.0.0.1:50051");
  auto channel = rowgate::connect(address, variable("ROWGATE_CA"), variable("ROWGATE_TOKEN"));
  auto stub = v1::DatabaseService::NewStub(channel);
  health(channel);
  make_table(*stub);
  query(*stub);
  stream(*stub);
  batch_with_key(*stub);
  transaction_with_savepoint(*stub);
  error_details(*stub);
  transaction_again(*stub);
  deadline(*stub);
  run(*stub, statement<v1::QueryRequest>("drop table " + table));
  std::cout << "ok" << std::endl;
} catch (const rowgate::Error& error) {
  std::cerr << error.code << " " << error.reason << ": " << error.what() << " (" << error.outcome << ")" << std::endl;
  return 1;
} catch (const std::exception& error) {
  std::cerr << error.what() << std::endl;
  return 1;
}
