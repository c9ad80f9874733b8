package io.rowgate.example;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.protobuf.Duration;
import io.rowgate.v1.AccessMode;
import io.rowgate.v1.BatchStatement;
import io.rowgate.v1.CopyFormat;
import io.rowgate.v1.CopyInStart;
import io.rowgate.v1.CopyOutRequest;
import io.rowgate.v1.CopyTextOptions;
import io.rowgate.v1.ExecuteBatchRequest;
import io.rowgate.v1.Expectation;
import io.rowgate.v1.IsolationLevel;
import io.rowgate.v1.QueryOptions;
import io.rowgate.v1.QueryRequest;
import io.rowgate.v1.Setting;
import io.rowgate.v1.TransactBatch;
import io.rowgate.v1.TransactionOptions;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** The requests of steps. */
final class Requests {
  private Requests() {}

  static JsonObject object(JsonObject step, String member) {
    return step.has(member) ? step.getAsJsonObject(member) : new JsonObject();
  }

  static long number(JsonObject object, String member, long otherwise) {
    return object.has(member) ? object.get(member).getAsLong() : otherwise;
  }

  static boolean isTrue(JsonObject object, String member) {
    return object.has(member) && object.get(member).getAsBoolean();
  }

  static long deadline(JsonObject step) {
    return number(object(step, "options"), "deadline_ms", 30_000);
  }

  private static Duration duration(JsonElement milliseconds) {
    long count = milliseconds.getAsLong();
    return Duration.newBuilder().setSeconds(count / 1000).setNanos((int) (count % 1000) * 1_000_000).build();
  }

  private static AccessMode access(JsonObject given) {
    return isTrue(given, "read_only") ? AccessMode.ACCESS_MODE_READ_ONLY : AccessMode.ACCESS_MODE_UNSPECIFIED;
  }

  static List<Setting> settings(JsonObject step) {
    return object(step, "settings").entrySet().stream()
        .map(one -> Setting.newBuilder().setName(one.getKey()).setValue(one.getValue().getAsString()).build())
        .toList();
  }

  static QueryOptions options(JsonObject step) {
    var given = object(step, "options");
    var options =
        QueryOptions.newBuilder()
            .setMaxRows(number(given, "max_rows", 0))
            .setMaxBytes(number(given, "max_bytes", 0))
            .setAccessMode(access(given))
            .setTag(Values.text(given, "tag"))
            .setIdempotent(isTrue(given, "idempotent"))
            .setIdempotencyKey(Values.text(given, "key"))
            .addAllSettings(settings(given));
    if (given.has("timeout_ms")) {
      options.setTimeout(duration(given.get("timeout_ms")));
    }
    return options.build();
  }

  static TransactionOptions transaction(JsonObject step) {
    var given = object(step, "transaction");
    var isolation = given.has("isolation") ? Values.text(given, "isolation") : "unspecified";
    var options =
        TransactionOptions.newBuilder()
            .setIsolationLevel(IsolationLevel.valueOf("ISOLATION_LEVEL_" + isolation.toUpperCase(Locale.ROOT)))
            .setAccessMode(access(given))
            .setDeferrable(isTrue(given, "deferrable"));
    if (given.has("idle_timeout_ms")) {
      options.setIdleTimeout(duration(given.get("idle_timeout_ms")));
    }
    if (given.has("max_duration_ms")) {
      options.setMaxDuration(duration(given.get("max_duration_ms")));
    }
    return options.build();
  }

  static QueryRequest query(JsonObject step) {
    return QueryRequest.newBuilder()
        .setDatabase(Values.text(object(step, "options"), "database"))
        .setSql(Values.text(step, "sql"))
        .addAllParameters(Values.parameters(step, "parameters"))
        .setOptions(options(step))
        .build();
  }

  static ExecuteBatchRequest batch(JsonObject step) {
    var batch =
        ExecuteBatchRequest.newBuilder()
            .setDatabase(Values.text(object(step, "options"), "database"))
            .setTransaction(transaction(step))
            .setOptions(options(step))
            .setDryRun(isTrue(step, "dry_run"));
    return batch.addAllStatements(statements(step)).build();
  }

  static TransactBatch batchIn(JsonObject step) {
    return TransactBatch.newBuilder().addAllStatements(statements(step)).setOptions(options(step)).build();
  }

  private static List<BatchStatement> statements(JsonObject step) {
    var statements = new ArrayList<BatchStatement>();
    for (JsonElement element : step.getAsJsonArray("statements")) {
      var one = element.getAsJsonObject();
      var statement = BatchStatement.newBuilder().setSql(Values.text(one, "sql")).addAllParameters(Values.parameters(one, "parameters"));
      if (one.has("expect_rows")) {
        statement.setExpect(expectation(one.getAsJsonObject("expect_rows")));
      }
      for (long times = number(one, "times", 1); times > 0; times--) {
        statements.add(statement.build());
      }
    }
    return statements;
  }

  private static Expectation expectation(JsonObject rows) {
    var expectation = Expectation.newBuilder();
    if (rows.has("exactly")) {
      expectation.setExactly(rows.get("exactly").getAsLong());
    } else if (rows.has("at_least")) {
      expectation.setAtLeast(rows.get("at_least").getAsLong());
    } else {
      expectation.setAtMost(rows.get("at_most").getAsLong());
    }
    return expectation.build();
  }

  private static CopyFormat format(JsonObject step) {
    return CopyFormat.valueOf("COPY_FORMAT_" + Values.text(step, "format").toUpperCase(Locale.ROOT));
  }

  private static CopyTextOptions text(JsonObject step) {
    var text = CopyTextOptions.newBuilder().setHeader(isTrue(step, "header")).setDelimiter(Values.text(step, "delimiter"));
    if (step.has("null_text")) {
      text.setNullText(Values.text(step, "null_text"));
    }
    return text.build();
  }

  private static List<String> columns(JsonObject step) {
    return Values.list(step, "columns").asList().stream().map(JsonElement::getAsString).toList();
  }

  static CopyInStart copyIn(JsonObject step) {
    var start = CopyInStart.newBuilder().setTable(Values.text(step, "table")).addAllColumns(columns(step)).setFormat(format(step)).setOptions(options(step));
    return (format(step) == CopyFormat.COPY_FORMAT_ROWS ? start : start.setText(text(step))).build();
  }

  static CopyOutRequest copyOut(JsonObject step) {
    var copy =
        CopyOutRequest.newBuilder()
            .setTable(Values.text(step, "table"))
            .addAllColumns(columns(step))
            .setSql(Values.text(step, "sql"))
            .addAllParameters(Values.parameters(step, "parameters"))
            .setFormat(format(step))
            .setOptions(options(step));
    return (format(step) == CopyFormat.COPY_FORMAT_ROWS ? copy : copy.setText(text(step))).build();
  }
}
