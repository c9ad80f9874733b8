package io.rowgate.example;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.gson.JsonPrimitive;
import io.rowgate.v1.DatabaseServiceGrpc;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.TimeUnit;

/** Runs the conformance list for clients by the stubs and the client of examples/java. See ../../README.md. */
public final class Runner {
  private static final Set<String> FEATURES =
      Set.of("abandon", "cancel", "copy", "describe", "half_close", "lower_bounds", "records");

  private final String backend = System.getenv("ROWGATE_BACKEND");
  private final String run = UUID.randomUUID().toString().replace("-", "");
  private int passed;
  private int failed;
  private int skipped;

  private Runner() {}

  /** The program; its arguments choose cases by parts of their names. */
  public static void main(String[] parts) throws Exception {
    var runner = new Runner();
    var channel = Rowgate.connect(System.getenv("ROWGATE_ADDRESS"), null, null);
    try {
      List<Path> files;
      try (var all = Files.list(Path.of(System.getenv("ROWGATE_CASES")))) {
        files = all.sorted().toList();
      }
      for (Path file : files) {
        var list = JsonParser.parseString(Files.readString(file)).getAsJsonObject();
        for (JsonElement one : list.getAsJsonArray("cases")) {
          var name = file.getFileName().toString().replace(".json", "") + "/" + Values.text(one, "name");
          if (parts.length == 0 || Arrays.stream(parts).anyMatch(name::contains)) {
            runner.run(new Steps(DatabaseServiceGrpc.newBlockingStub(channel), DatabaseServiceGrpc.newStub(channel)), name, one.getAsJsonObject());
          }
        }
      }
    } finally {
      channel.shutdownNow().awaitTermination(5, TimeUnit.SECONDS);
    }
    System.out.printf("%d passed, %d failed, %d skipped%n", runner.passed, runner.failed, runner.skipped);
    System.exit(runner.failed == 0 && runner.passed > 0 ? 0 : 1);
  }

  private void run(Steps steps, String name, JsonObject one) {
    String lack = lack(one);
    if (lack != null) {
      System.out.println("SKIPPED: " + name + ": " + lack);
      skipped++;
      return;
    }
    try {
      steps.run(prepared(one).getAsJsonObject());
      passed++;
    } catch (Exception | AssertionError error) {
      System.out.println("FAILED: " + name + ": " + error.getMessage());
      failed++;
    }
  }

  /** Says why a case does not run; null where it does. */
  private String lack(JsonObject one) {
    if (one.has("not_on") && one.getAsJsonObject("not_on").has(backend)) {
      return Values.text(one.get("not_on"), backend);
    }
    for (JsonElement feature : Values.list(one, "requires")) {
      if (!FEATURES.contains(feature.getAsString())) {
        return "the client has no " + feature.getAsString();
      }
    }
    return null;
  }

  /** Puts what the backend has in the place of each per_backend, and the run in that of ${run}. */
  private JsonElement prepared(JsonElement value) {
    if (value.isJsonArray()) {
      var all = new JsonArray();
      value.getAsJsonArray().forEach(one -> all.add(prepared(one)));
      return all;
    }
    if (value.isJsonObject()) {
      var members = value.getAsJsonObject();
      if (members.size() == 1 && members.has("per_backend")) {
        var choices = members.getAsJsonObject("per_backend");
        return prepared(choices.get(choices.has(backend) ? backend : "default"));
      }
      var all = new JsonObject();
      members.entrySet().forEach(member -> all.add(member.getKey(), prepared(member.getValue())));
      return all;
    }
    boolean isText = value.isJsonPrimitive() && value.getAsJsonPrimitive().isString();
    return isText ? new JsonPrimitive(value.getAsString().replace("${run}", run)) : value;
  }
}
