// What a service wants around the generated stubs: a channel, parameters, errors that say what became of the work, and
// transactions.

#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "rowgate/v1/database.grpc.pb.h"

namespace rowgate {

using std::chrono::milliseconds;

// A channel for the whole process: it is thread-safe, and reconnects by itself. It speaks TLS to https://, and where `ca`
// names a PEM file with the authorities to trust. The token is sent with each call, over TLS only.
inline std::shared_ptr<grpc::Channel> connect(const std::string& address, const std::string& ca, const std::string& token) {
  auto credentials = grpc::InsecureChannelCredentials();
  if (!ca.empty() || address.rfind("https://", 0) == 0) {
    grpc::SslCredentialsOptions options;
    std::ifstream file(ca);
    options.pem_root_certs.assign(std::istreambuf_iterator<char>(file), {});  // empty: the system's authorities
    if (!ca.empty() && options.pem_root_certs.empty()) throw std::invalid_argument("cannot read " + ca);
    credentials = grpc::SslCredentials(options);
    if (!token.empty()) credentials = grpc::CompositeChannelCredentials(credentials, grpc::AccessTokenCredentials(token));
  } else if (!token.empty()) {
    throw std::invalid_argument("a token is sent over TLS only: name the authorities, or write https://");
  }
  grpc::ChannelArguments arguments;
  arguments.SetLoadBalancingPolicyName("round_robin");
  return grpc::CreateCustomChannel(address.substr(address.rfind('/') + 1), credentials, arguments);
}

// The context of one call, with its deadline.
inline std::unique_ptr<grpc::ClientContext> within(milliseconds timeout) {
  auto context = std::make_unique<grpc::ClientContext>();
  context->set_deadline(std::chrono::system_clock::now() + timeout);
  return context;
}

// Parameters; value.proto has the other kinds. The database parses the text of any type.
inline v1::Value value(std::int64_t number) {
  v1::Value value;
  value.set_int64_value(number);
  return value;
}
inline v1::Value value(const std::string& text) {
  v1::Value value;
  value.set_text_value(text);
  return value;
}

// A QueryRequest, a BatchStatement or a TransactQuery with its parameters.
template <typename Statement, typename... Values>
Statement statement(const std::string& sql, const Values&... values) {
  Statement statement;
  statement.set_sql(sql);
  ((*statement.add_parameters() = value(values)), ...);
  return statement;
}

// A call, or a statement in a transaction, that failed.
struct Error : std::runtime_error {
  google::rpc::Status status;  // gRPC's code, and all details
  std::string reason;
  std::string outcome = "UNKNOWN";  // or NOT_APPLIED, APPLIED; UNKNOWN is all that the library or a proxy reports
  std::optional<milliseconds> retry_delay;  // after it the same call may be sent again

  explicit Error(const google::rpc::Status& failed) : std::runtime_error(failed.message()), status(failed) {
    google::rpc::ErrorInfo info;
    google::rpc::RetryInfo retry;
    for (const auto& detail : status.details()) {
      if (detail.UnpackTo(&info) && info.domain() == "rowgate") {
        reason = info.reason();
        outcome = info.metadata().at("outcome");
      } else if (detail.UnpackTo(&retry)) {
        retry_delay = milliseconds(retry.retry_delay().seconds() * 1000 + retry.retry_delay().nanos() / 1000000);
      }
    }
  }
};

// Throws an Error unless the call went well.
inline void check(const grpc::Status& status) {
  if (status.ok()) return;
  google::rpc::Status rich;
  rich.ParseFromString(status.error_details());
  rich.set_code(status.error_code());  // without details the library or a proxy has made it
  rich.set_message(status.error_message());
  throw Error(rich);
}

// Does `work` up to three times: again only where nothing was applied, and not before the server's delay.
template <typename Work>
void retrying(Work work) {
  std::mt19937 random{std::random_device{}()};
  for (int attempt = 1;; ++attempt) {
    try {
      return work();
    } catch (const Error& error) {
      if (error.outcome != "NOT_APPLIED" || !error.retry_delay || attempt == 3) throw;
      auto factor = attempt * std::uniform_real_distribution(1.0, 1.5)(random);
      std::this_thread::sleep_for(*error.retry_delay * factor);
    }
  }
}

// A transaction: committed when `work` returns, rolled back when it throws. `work` is given a function that runs a statement.
template <typename Work>
void in_transaction(v1::DatabaseService::Stub& stub, milliseconds timeout, const v1::Begin& begin, Work work) {
  auto context = within(timeout);
  auto stream = stub.Transact(context.get());
  v1::TransactRequest command;
  v1::TransactResponse reply;
  bool is_over = false;
  auto ask = [&] {
    command.set_sequence(command.sequence() + 1);
    stream->Write(command);  // where it cannot be sent, the status says why
    std::vector<v1::Row> rows;
    do {  // a large result comes in parts
      is_over = !stream->Read(&reply);
      if (is_over) check(stream->Finish());
      if (is_over) throw std::runtime_error("the transaction ended without a reply");
      if (reply.has_error()) throw Error(reply.error());  // a statement failed, the transaction is open
      for (auto& row : *reply.mutable_result()->mutable_result_set()->mutable_rows()) rows.push_back(std::move(row));
    } while (reply.result().more());
    return rows;
  };
  try {
    *command.mutable_begin() = begin;
    ask();
    work([&](const v1::TransactQuery& query) {
      *command.mutable_query() = query;
      return ask();
    });
    command.mutable_commit();
    ask();
  } catch (...) {
    context->TryCancel();
    while (!is_over && stream->Read(&reply)) {
    }
    if (!is_over) stream->Finish();
    throw;
  }
  stream->Finish();  // the call ends with the commit
}

}  // namespace rowgate
