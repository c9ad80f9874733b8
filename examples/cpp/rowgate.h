// What a service wants around the generated stubs: a channel, parameters, errors that say what became of the work,
// retries that respect that, and transactions as functions.

#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "rowgate/v1/database.grpc.pb.h"
#include "rowgate/v1/error.pb.h"

namespace rowgate {

using std::chrono::milliseconds;

// A channel for the whole process: it is thread-safe, and reconnects by itself. It speaks TLS to an address with https://,
// and where `ca` names a PEM file with the authorities that are trusted. The token is sent with each call.
std::shared_ptr<grpc::Channel> connect(const std::string& address, const std::string& ca = "",
                                       const std::string& token = "");

// The context of one call, with its deadline.
std::unique_ptr<grpc::ClientContext> within(milliseconds timeout);

v1::Value value(std::int64_t number);
v1::Value value(const std::string& text);

// Appends parameters to a QueryRequest, a BatchStatement or a TransactQuery.
template <typename Statement, typename... Values>
void add_parameters(Statement& statement, const Values&... values) {
  ((*statement.add_parameters() = value(values)), ...);
}

// A call, or a statement in a transaction, that failed.
class Error : public std::runtime_error {
 public:
  explicit Error(const google::rpc::Status& status);
  explicit Error(const grpc::Status& status);

  grpc::StatusCode code;
  std::string reason;
  // NOT_APPLIED, APPLIED or UNKNOWN. What was made on the way, by the client library or a proxy, cannot know.
  std::string outcome = "UNKNOWN";
  // With it the same call may be sent again, after so long.
  std::optional<milliseconds> retry_delay;
  // Fields of the request that are to blame, as in parameters[0] for $1.
  std::vector<std::string> fields;
  // SQLSTATE, constraint, position and more.
  v1::DatabaseError database;
};

// Throws an Error unless the call went well.
void check(const grpc::Status& status);

// Does it again where nothing was applied and it may succeed later, as RetryInfo says.
void retrying(const std::function<void()>& work, int attempts = 3);

// An interactive transaction. One that is destroyed without a commit is rolled back at once.
class Transaction {
 public:
  explicit Transaction(v1::DatabaseService::Stub& stub, const v1::Begin& begin = {},
                       milliseconds timeout = std::chrono::seconds(30));
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  std::vector<v1::Row> query(const v1::TransactQuery& query);
  // Undoes what `work` did when it throws; the transaction goes on.
  void savepoint(const std::string& name, const std::function<void()>& work);
  void commit();

 private:
  Transaction(v1::DatabaseService::Stub& stub, milliseconds timeout);
  v1::TransactResponse ask(v1::TransactRequest command);
  v1::TransactResponse reply();

  std::unique_ptr<grpc::ClientContext> context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::TransactRequest, v1::TransactResponse>> stream_;
  std::uint32_t sequence_ = 0;
  bool finished_ = false;
};

}  // namespace rowgate
