// Runs the conformance list for clients by the stubs and the client of examples/cpp. See ../../README.md.

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <random>
#include <set>

#include "steps.h"

namespace {

const std::set<std::string> kFeatures = {"abandon", "cancel", "copy", "describe", "half_close", "lower_bounds", "records"};

std::string variable(const char* name) {
  const char* set = std::getenv(name);
  if (!set) throw std::runtime_error(std::string(name) + " is not set");
  return set;
}

// Puts what the backend has in the place of each per_backend, and the run in that of ${run}.
json prepared(const json& value, const std::string& backend, const std::string& run) {
  if (value.is_string()) {
    auto text = value.get<std::string>();
    for (auto at = text.find("${run}"); at != std::string::npos; at = text.find("${run}")) text.replace(at, 6, run);
    return text;
  }
  if (value.is_object() && value.size() == 1 && value.contains("per_backend")) {
    const auto& choices = value["per_backend"];
    return prepared(choices.contains(backend) ? choices[backend] : choices.at("default"), backend, run);
  }
  auto all = value;
  if (value.is_structured()) {
    for (auto& one : all) one = prepared(one, backend, run);
  }
  return all;
}

// Why a case does not run; empty where it does.
std::string lack(const json& one, const std::string& backend) {
  auto reason = text(one.value("not_on", json::object()), backend);
  if (!reason.empty()) return reason;
  for (const auto& feature : one.value("requires", json::array())) {
    if (!kFeatures.count(feature)) return "the client has no " + feature.get<std::string>();
  }
  return "";
}

bool is_chosen(const std::string& name, int count, char** parts) {
  for (int i = 1; i < count; ++i) {
    if (name.find(parts[i]) != std::string::npos) return true;
  }
  return count == 1;
}

}  // namespace

int main(int count, char** parts) try {
  auto backend = variable("ROWGATE_BACKEND");
  auto stub = v1::DatabaseService::NewStub(rowgate::connect(variable("ROWGATE_ADDRESS"), "", ""));
  std::random_device random;
  auto run = std::to_string(random()) + std::to_string(random());
  std::set<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(variable("ROWGATE_CASES"))) files.insert(entry.path());
  int passed = 0, failed = 0, skipped = 0;
  for (const auto& file : files) {
    std::ifstream input(file);
    auto list = json::parse(input);
    for (const auto& one : list["cases"]) {
      auto name = file.stem().string() + "/" + text(one, "name");
      if (!is_chosen(name, count, parts)) continue;
      if (auto reason = lack(one, backend); !reason.empty()) {
        std::cout << "SKIPPED: " << name << ": " << reason << std::endl;
        ++skipped;
        continue;
      }
      try {
        Steps(*stub).run(prepared(one, backend, run));
        ++passed;
      } catch (const std::exception& error) {
        std::cout << "FAILED: " << name << ": " << error.what() << std::endl;
        ++failed;
      }
    }
  }
  std::cout << passed << " passed, " << failed << " failed, " << skipped << " skipped" << std::endl;
  return failed == 0 && passed > 0 ? 0 : 1;
} catch (const std::exception& error) {
  std::cerr << error.what() << std::endl;
  return 1;
}
