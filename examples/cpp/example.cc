// A tour of Rowgate: the result of each step is a line.

#include <cstdlib>
#include <iostream>

#include "rowgate.h"

using namespace std::chrono_literals;
namespace v1 = rowgate::v1;

namespace {

const std::string numbers =
    "with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < $1) select n from numbers";

template <typename... Values>
v1::ResultSet query(v1::DatabaseService::Stub& stub, rowgate::milliseconds timeout, const std::string& sql, const Values&... values) {
  v1::QueryResponse answer;
  rowgate::check(stub.Query(rowgate::within(timeout).get(), rowgate::statement<v1::QueryRequest>(sql, values...), &answer));
  return answer.result();
}

std::int64_t cents(v1::DatabaseService::Stub& stub) {
  return query(stub, 5s, "select cents from example_cpp where owner = $1", "ann").rows(0).values(0).int64_value();
}

// All or nothing, and once: with its key it may be sent again whatever became of the first call.
void batch(v1::DatabaseService::Stub& stub) {
  v1::ExecuteBatchRequest transfer;
  auto change = "update example_cpp set cents = cents + $1 where owner = $2 and cents + $1 >= 0";
  *transfer.add_statements() = rowgate::statement<v1::BatchStatement>(change, -300, "ann");
  *transfer.add_statements() = rowgate::statement<v1::BatchStatement>(change, 300, "bob");
  for (auto& one : *transfer.mutable_statements()) one.mutable_expect()->set_exactly(1);
  std::random_device random;
  transfer.mutable_options()->set_idempotency_key("transfer-" + std::to_string(random()) + "-" + std::to_string(random()));
  v1::ExecuteBatchResponse first, again;
  rowgate::check(stub.ExecuteBatch(rowgate::within(5s).get(), transfer, &first));
  rowgate::check(stub.ExecuteBatch(rowgate::within(5s).get(), transfer, &again));
  std::cout << std::boolalpha << "batch: replayed " << first.replayed() << ", then " << again.replayed() << ", ann has "
            << cents(stub) << std::endl;
}

// The first attempt is silent for so long that the server rolls it back; `retrying` makes another one.
void transaction(v1::DatabaseService::Stub& stub) {
  v1::Begin begin;
  begin.mutable_transaction()->mutable_idle_timeout()->set_nanos(100000000);
  int attempts = 0;
  rowgate::retrying([&] {
    rowgate::in_transaction(stub, 30s, begin, [&](auto query) {
      auto select = rowgate::statement<v1::TransactQuery>("select cents from example_cpp where owner = $1", "ann");
      auto half = query(select).at(0).values(0).int64_value() / 2;
      if (++attempts == 1) std::this_thread::sleep_for(500ms);
      auto update = "update example_cpp set cents = $1 where owner = $2";
      query(rowgate::statement<v1::TransactQuery>(update, half, "ann"));
    });
  });
  std::cout << "transaction: " << attempts << " attempts, ann has " << cents(stub) << std::endl;
}

// A result of any size, in constant memory; it is complete only with its summary.
void stream(v1::DatabaseService::Stub& stub) {
  v1::StreamQueryRequest request;
  *request.mutable_query() = rowgate::statement<v1::QueryRequest>(numbers, 10000);
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
  std::cout << "stream: " << summary->row_count() << " rows, sum " << sum << std::endl;
}

std::string variable(const char* name) {
  const char* set = std::getenv(name);
  return set ? set : "";
}

}  // namespace

int main(int, char** arguments) try {
  auto channel = rowgate::connect(arguments[1], variable("ROWGATE_CA"), variable("ROWGATE_TOKEN"));
  auto owned = v1::DatabaseService::NewStub(channel);
  auto& stub = *owned;
  query(stub, 5s, "drop table if exists example_cpp");
  query(stub, 5s, "create table example_cpp (id bigint primary key, owner text not null, cents bigint not null)");
  query(stub, 5s, "insert into example_cpp values (1, 'ann', 1000), (2, 'bob', 500)");
  auto row = query(stub, 5s, "select owner, cents from example_cpp where owner = $1 and cents >= $2", "ann", 1000).rows(0);
  std::cout << "query: " << row.values(0).text_value() << " has " << row.values(1).int64_value() << std::endl;
  try {
    query(stub, 5s, "insert into example_cpp values ($1, $2, $3)", 1, "ann", 0);
  } catch (const rowgate::Error& error) {
    std::cout << "error: " << error.reason << ", " << error.outcome << std::endl;
  }
  batch(stub);
  transaction(stub);
  stream(stub);
  try {
    query(stub, 500ms, "select count(*) from (" + numbers + ") as endless", 1000000000);  // it ends in the database, too
  } catch (const rowgate::Error& error) {
    if (error.status.code() == grpc::DEADLINE_EXCEEDED) std::cout << "deadline: DEADLINE_EXCEEDED" << std::endl;
  }
  query(stub, 5s, "drop table example_cpp");
  std::cout << "ok" << std::endl;
} catch (const std::exception& error) {
  std::cerr << error.what() << std::endl;
  return 1;
}
