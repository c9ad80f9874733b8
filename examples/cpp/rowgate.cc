#include "rowgate.h"

#include <fstream>
#include <iterator>
#include <random>
#include <thread>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace rowgate {
namespace {

// The same as in service-config.json: turns over all addresses, and a retry policy for calls that only read.
constexpr char kServiceConfig[] = R"json(
{
  "loadBalancingConfig": [{ "round_robin": {} }],
  "methodConfig": [
    {
      "name": [
        { "service": "rowgate.v1.DatabaseService", "method": "DescribeStatement" },
        { "service": "rowgate.v1.DatabaseService", "method": "GetTransactionOutcome" },
        { "service": "rowgate.v1.ServerService" }
      ],
      "retryPolicy": {
        "maxAttempts": 4,
        "initialBackoff": "0.1s",
        "maxBackoff": "2s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"]
      }
    }
  ],
  "retryThrottling": { "maxTokens": 10, "tokenRatio": 0.1 }
}
)json";

google::rpc::Status rich(const grpc::Status& status) {
  google::rpc::Status rich;
  // Without details the status was made on the way: by the client library, or a proxy.
  if (status.error_details().empty() || !rich.ParseFromString(status.error_details())) {
    rich.set_code(status.error_code());
    rich.set_message(status.error_message());
  }
  return rich;
}

std::shared_ptr<grpc::ChannelCredentials> tls(const std::string& ca, const std::string& token) {
  grpc::SslCredentialsOptions options;
  if (!ca.empty()) {
    std::ifstream file(ca);
    if (!file) throw std::invalid_argument("cannot read " + ca);
    options.pem_root_certs.assign(std::istreambuf_iterator<char>(file), {});
  }
  auto tls = grpc::SslCredentials(options);
  return token.empty() ? tls : grpc::CompositeChannelCredentials(tls, grpc::AccessTokenCredentials(token));
}

}  // namespace

std::shared_ptr<grpc::Channel> connect(const std::string& address, const std::string& ca, const std::string& token) {
  auto scheme_end = address.find("://");
  auto host = scheme_end == std::string::npos ? address : address.substr(scheme_end + 3);
  auto encrypted = !ca.empty() || address.rfind("https://", 0) == 0;
  if (!encrypted && !token.empty()) {
    throw std::invalid_argument("a token is sent over TLS only: name the authorities, or write https://");
  }
  grpc::ChannelArguments arguments;
  arguments.SetServiceConfigJSON(kServiceConfig);
  auto shown = encrypted ? tls(ca, token) : grpc::InsecureChannelCredentials();
  return grpc::CreateCustomChannel(host, shown, arguments);
}

std::unique_ptr<grpc::ClientContext> within(milliseconds timeout) {
  auto context = std::make_unique<grpc::ClientContext>();
  context->set_deadline(std::chrono::system_clock::now() + timeout);
  return context;
}

v1::Value value(std::int64_t number) {
  v1::Value value;
  value.set_int64_value(number);
  return value;
}

v1::Value value(const std::string& text) {
  v1::Value value;
  value.set_text_value(text);
  return value;
}

Error::Error(const grpc::Status& status) : Error(rich(status)) {}

Error::Error(const google::rpc::Status& status)
    : std::runtime_error(status.message()), code(static_cast<grpc::StatusCode>(status.code())) {
  google::rpc::ErrorInfo info;
  google::rpc::RetryInfo retry;
  google::rpc::BadRequest bad;
  for (const auto& detail : status.details()) {
    if (detail.UnpackTo(&info) && info.domain() == "rowgate") {
      reason = info.reason();
      outcome = info.metadata().at("outcome");
    } else if (detail.UnpackTo(&retry)) {
      const auto& delay = retry.retry_delay();
      retry_delay = milliseconds(delay.seconds() * 1000 + delay.nanos() / 1000000);
    } else if (detail.UnpackTo(&bad)) {
      for (const auto& violation : bad.field_violations()) fields.push_back(violation.field());
    } else {
      detail.UnpackTo(&database);
    }
  }
}

void check(const grpc::Status& status) {
  if (!status.ok()) throw Error(status);
}

void retrying(const std::function<void()>& work, int attempts) {
  static thread_local std::mt19937 random{std::random_device{}()};
  for (int attempt = 1;; ++attempt) {
    milliseconds delay;
    try {
      return work();
    } catch (const Error& error) {
      if (error.outcome != "NOT_APPLIED" || !error.retry_delay || attempt >= attempts) throw;
      delay = *error.retry_delay * (1 << (attempt - 1));
    }
    std::this_thread::sleep_for(delay * std::uniform_real_distribution(1.0, 1.5)(random));
  }
}

Transaction::Transaction(v1::DatabaseService::Stub& stub, milliseconds timeout)
    : context_(within(timeout)), stream_(stub.Transact(context_.get())) {}

Transaction::Transaction(v1::DatabaseService::Stub& stub, const v1::Begin& begin, milliseconds timeout)
    : Transaction(stub, timeout) {  // from here on the destructor runs, whatever fails
  v1::TransactRequest command;
  *command.mutable_begin() = begin;
  ask(command);
}

Transaction::~Transaction() {
  if (finished_) return;
  context_->TryCancel();
  v1::TransactResponse ignored;
  while (stream_->Read(&ignored)) {
  }
  stream_->Finish();
}

std::vector<v1::Row> Transaction::query(const v1::TransactQuery& query) {
  v1::TransactRequest command;
  *command.mutable_query() = query;
  std::vector<v1::Row> rows;
  for (auto answer = ask(command);; answer = reply()) {  // a large result comes in parts
    const auto& found = answer.result().result_set().rows();
    rows.insert(rows.end(), found.begin(), found.end());
    if (!answer.result().more()) return rows;
  }
}

void Transaction::savepoint(const std::string& name, const std::function<void()>& work) {
  v1::TransactRequest set, undo, release;
  set.mutable_savepoint()->set_name(name);
  undo.mutable_rollback_to()->set_name(name);
  release.mutable_release()->set_name(name);
  ask(set);
  try {
    work();
  } catch (...) {
    ask(undo);
    throw;
  }
  ask(release);
}

void Transaction::commit() {
  v1::TransactRequest command;
  command.mutable_commit();
  ask(command);
  finished_ = true;
  check(stream_->Finish());  // the stream ends with the last reply
}

v1::TransactResponse Transaction::ask(v1::TransactRequest command) {
  command.set_sequence(++sequence_);
  stream_->Write(command);  // where it cannot be sent, reply() says why
  return reply();
}

v1::TransactResponse Transaction::reply() {
  v1::TransactResponse reply;
  if (!stream_->Read(&reply)) {  // the transaction is over
    finished_ = true;
    check(stream_->Finish());
    throw std::logic_error("the transaction is over");
  }
  if (reply.has_error()) throw Error(reply.error());  // a statement failed, the transaction is open
  return reply;
}

}  // namespace rowgate
