// The steps of a case, each as one call or one command of a transaction.

#pragma once

#include <map>
#include <optional>

#include "values.h"

// What a step has found; expectations are compared with its members.
struct Answer {
  std::vector<v1::Column> columns;
  std::vector<v1::Row> rows;
  std::vector<v1::ResultSet> results;
  json members = json::object();

  Answer() = default;
  explicit Answer(const v1::ResultSet& result, json members = json::object());
};

// Throws unless an answer is as expected.
void compare(const json& expect, const Answer& answer);
void compare(const json& expect, const rowgate::Error& error);

// Columns, as the list writes them.
json described(const std::vector<v1::Column>& columns);

// An open transaction. One that is destroyed is abandoned.
struct Opened {
  std::unique_ptr<grpc::ClientContext> context;
  std::unique_ptr<grpc::ClientReaderWriter<v1::TransactRequest, v1::TransactResponse>> stream;
  std::uint32_t sequence = 0;
  bool is_over = false;

  ~Opened();
  v1::TransactResponse ask(v1::TransactRequest command);
  v1::TransactResponse reply();
  void finish();
};

class Steps {
 public:
  explicit Steps(v1::DatabaseService::Stub& stub) : stub_(stub) {}

  // Runs a case; throws where it goes wrong.
  void run(const json& one);

 private:
  void step(const json& step);
  Answer answer(const json& step);
  Answer query(const json& step);
  Answer query_in(const json& step);
  Answer stream(const json& step);
  Answer batch(const json& step);
  Answer batch_in(const json& step);
  Answer begin(const json& step);
  Answer command(const json& step);
  Answer outcome(const json& step);
  Answer describe(const json& step);
  Answer copy_in(const json& step);
  Answer copy_out(const json& step);
  void echo(const json& step);
  void cancel(const json& step);
  Opened& opened(const json& step);

  v1::DatabaseService::Stub& stub_;
  std::map<std::string, std::unique_ptr<Opened>> open_;
};
