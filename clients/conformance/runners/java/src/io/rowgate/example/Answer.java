package io.rowgate.example;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import io.rowgate.v1.Column;
import io.rowgate.v1.DataType;
import io.rowgate.v1.DatabaseError;
import io.rowgate.v1.ResultSet;
import io.rowgate.v1.Row;
import java.util.List;

/** What a step has found; expectations are compared with its members. */
record Answer(List<Column> columns, List<Row> rows, List<ResultSet> results, JsonObject members) {
  static Answer of(JsonObject members) {
    return new Answer(List.of(), List.of(), List.of(), members);
  }

  static Answer of(ResultSet result, JsonObject members) {
    members.addProperty("rows_affected", result.getRowsAffected());
    members.addProperty("command", result.getCommand());
    return new Answer(result.getColumnsList(), result.getRowsList(), List.of(), members);
  }

  static JsonObject member(String name, Object value) {
    var members = new JsonObject();
    members.add(name, value instanceof Boolean bool ? new JsonPrimitive(bool) : new JsonPrimitive((String) value));
    return members;
  }

  /** Throws unless it is as expected. */
  void compare(JsonObject expect) {
    if (expect.has("error")) {
      throw new AssertionError("it did not fail with " + expect.get("error"));
    }
    expect.entrySet().forEach(member -> compare(member.getKey(), member.getValue()));
  }

  private void compare(String member, JsonElement wanted) {
    if (member.equals("results")) {
      var all = wanted.getAsJsonArray();
      if (all.size() != results.size()) {
        throw new AssertionError(results.size() + " results");
      }
      for (int i = 0; i < all.size(); i++) {
        of(results.get(i), new JsonObject()).compare(all.get(i).getAsJsonObject());
      }
    } else if (!isAsWanted(member, wanted)) {
      var shown = rows.size() + " rows, " + members + ", " + described(columns) + (rows.isEmpty() ? "" : row(0));
      throw new AssertionError(member + ": wanted " + wanted + ", found " + shown.substring(0, Math.min(shown.length(), 1500)));
    }
  }

  private boolean isAsWanted(String member, JsonElement wanted) {
    switch (member) {
      case "rows" -> {
        var all = wanted.getAsJsonArray();
        boolean isSame = all.size() == rows.size();
        for (int i = 0; isSame && i < all.size(); i++) {
          isSame = isRow(all.get(i), i);
        }
        return isSame;
      }
      case "first_row" -> {
        return isRow(wanted, 0);
      }
      case "last_row" -> {
        return isRow(wanted, rows.size() - 1);
      }
      case "row_count" -> {
        return wanted.getAsLong() == (members.has(member) ? members.get(member).getAsLong() : rows.size());
      }
      case "columns" -> {
        return areColumns(wanted.getAsJsonArray(), described(columns));
      }
      case "parameter_types" -> {
        return areColumns(wanted.getAsJsonArray(), members.getAsJsonArray(member));
      }
      default -> {
        return members.has(member) && members.get(member).getAsString().equals(wanted.getAsString());
      }
    }
  }

  private JsonArray row(int index) {
    var row = new JsonArray();
    for (int i = 0; i < rows.get(index).getValuesCount(); i++) {
      row.add(Values.found(rows.get(index).getValues(i), columns.get(i).getType(), columns.get(i).getElementType()));
    }
    return row;
  }

  private boolean isRow(JsonElement expected, int index) {
    if (index < 0 || index >= rows.size()) {
      return false;
    }
    var row = row(index);
    boolean isSame = row.size() == expected.getAsJsonArray().size();
    for (int i = 0; isSame && i < row.size(); i++) {
      isSame = Values.same(expected.getAsJsonArray().get(i), row.get(i));
    }
    return isSame;
  }

  private static boolean areColumns(JsonArray wanted, JsonArray found) {
    boolean isSame = wanted.size() == found.size();
    for (int i = 0; isSame && i < wanted.size(); i++) {
      var column = found.get(i).getAsJsonObject();
      isSame = wanted.get(i).getAsJsonObject().entrySet().stream().allMatch(one -> one.getValue().equals(column.get(one.getKey())));
    }
    return isSame;
  }

  /** Columns, as the list writes them. */
  static JsonArray described(List<Column> columns) {
    var all = new JsonArray();
    for (Column column : columns) {
      var one = member("name", column.getName());
      one.addProperty("type", name(column.getType()));
      one.addProperty("element_type", name(column.getElementType()));
      one.addProperty("type_name", column.getTypeName());
      all.add(one);
    }
    return all;
  }

  private static String name(DataType type) {
    return type.name().replace("DATA_TYPE_", "");
  }

  /** Throws unless an error is as expected. */
  static void compare(JsonObject expect, StatusRuntimeException error) {
    if (!expect.has("error")) {
      throw new AssertionError("it failed: " + error.getMessage());
    }
    var database = DatabaseError.getDefaultInstance();
    List<String> fields = List.of();
    try {
      for (Any detail : StatusProto.fromThrowable(error).getDetailsList()) {
        if (detail.is(DatabaseError.class)) {
          database = detail.unpack(DatabaseError.class);
        } else if (detail.is(BadRequest.class)) {
          fields = detail.unpack(BadRequest.class).getFieldViolationsList().stream().map(BadRequest.FieldViolation::getField).toList();
        }
      }
    } catch (InvalidProtocolBufferException damaged) {
      throw new AssertionError("its details cannot be read", damaged);
    }
    var fate = Rowgate.Fate.of(error);
    var has = member("code", error.getStatus().getCode().name());
    has.addProperty("reason", fate.reason());
    has.addProperty("outcome", fate.outcome());
    has.addProperty("sqlstate", database.getSqlstate());
    has.addProperty("constraint", database.getConstraint());
    has.addProperty("schema", database.getSchema());
    has.addProperty("table", database.getTable());
    has.addProperty("column", database.getColumn());
    has.addProperty("position", database.getPosition());
    has.addProperty("line", database.getLine());
    has.addProperty("failed_statement", database.hasFailedStatement() ? database.getFailedStatement() : -1);
    has.addProperty("retryable", fate.delayMillis() != null);
    for (var member : expect.getAsJsonObject("error").entrySet()) {
      var wanted = member.getValue();
      boolean isRight =
          switch (member.getKey()) {
            case "without" -> !(error.getMessage() + database).contains(wanted.getAsString());
            case "fields" -> wanted.getAsJsonArray().asList().stream().map(JsonElement::getAsString).toList().equals(fields);
            default -> {
              var found = has.get(member.getKey()).getAsString();
              var choices = wanted.isJsonArray() ? wanted.getAsJsonArray().asList() : List.of(wanted);
              yield choices.stream().anyMatch(one -> one.getAsString().equals(found));
            }
          };
      if (!isRight) {
        throw new AssertionError(member.getKey() + ": wanted " + wanted + ", found " + has + fields + error.getMessage());
      }
    }
  }
}
