package io.rowgate.example;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.gson.JsonPrimitive;
import com.google.protobuf.ByteString;
import com.google.protobuf.NullValue;
import com.google.protobuf.Timestamp;
import io.rowgate.v1.ArrayValue;
import io.rowgate.v1.DataType;
import io.rowgate.v1.RecordValue;
import io.rowgate.v1.ResultReference;
import io.rowgate.v1.Value;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.time.Instant;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.StreamSupport;

/** Values of the list: as parameters, and compared with those of results. */
final class Values {
  private static final Map<DataType, String> TEXT_FORMS =
      Map.ofEntries(
          Map.entry(DataType.DATA_TYPE_NUMERIC, "numeric"),
          Map.entry(DataType.DATA_TYPE_UUID, "uuid"),
          Map.entry(DataType.DATA_TYPE_JSON, "json"),
          Map.entry(DataType.DATA_TYPE_DATE, "date"),
          Map.entry(DataType.DATA_TYPE_TIME, "time"),
          Map.entry(DataType.DATA_TYPE_TIMETZ, "timetz"),
          Map.entry(DataType.DATA_TYPE_TIMESTAMP, "timestamp"),
          Map.entry(DataType.DATA_TYPE_TIMESTAMPTZ, "timestamptz"),
          Map.entry(DataType.DATA_TYPE_INTERVAL, "interval"),
          Map.entry(DataType.DATA_TYPE_ENUM, "enum"),
          Map.entry(DataType.DATA_TYPE_RANGE, "range"),
          Map.entry(DataType.DATA_TYPE_INT16, "int"),
          Map.entry(DataType.DATA_TYPE_INT32, "int"),
          Map.entry(DataType.DATA_TYPE_INT64, "int"));

  private static final Pattern NUMBER_OR_TEXT = Pattern.compile("\"(?:[^\"\\\\]|\\\\.)*\"|-?[0-9][-+.0-9eE]*");

  private Values() {}

  /** The form of a value, and what it holds. */
  record Form(String name, JsonElement content) {
    String text() {
      return content.getAsString();
    }
  }

  static String text(JsonElement object, String member) {
    var value = object.isJsonObject() ? object.getAsJsonObject().get(member) : null;
    return value == null ? "" : value.getAsString();
  }

  static JsonArray list(JsonElement object, String member) {
    var value = object.getAsJsonObject().get(member);
    return value == null ? new JsonArray() : value.getAsJsonArray();
  }

  private static Form form(JsonElement value) {
    if (value.isJsonNull()) {
      return new Form("null", value);
    }
    if (value.isJsonPrimitive()) {
      var primitive = value.getAsJsonPrimitive();
      return new Form(primitive.isBoolean() ? "bool" : primitive.isNumber() ? "int" : "text", value);
    }
    var members = value.getAsJsonObject();
    if (members.has("text_repeated")) {
      var parts = members.getAsJsonArray("text_repeated");
      return new Form("text", new JsonPrimitive(parts.get(0).getAsString().repeat(parts.get(1).getAsInt())));
    }
    var form = members.keySet().stream().filter(name -> !name.equals("lower_bounds")).findFirst().orElseThrow();
    return new Form(form, members.get(form));
  }

  static List<Value> parameters(JsonElement step, String member) {
    return StreamSupport.stream(list(step, member).spliterator(), false).map(Values::parameter).toList();
  }

  /** A value that the client makes itself as far as it goes. */
  static Value parameter(JsonElement value) {
    var form = form(value);
    return switch (form.name()) {
      case "null" -> Value.newBuilder().setNullValue(NullValue.NULL_VALUE).build();
      case "bool" -> Value.newBuilder().setBoolValue(form.content().getAsBoolean()).build();
      case "int" -> {
        var number = new BigInteger(form.text());
        yield number.bitLength() < 64 ? Rowgate.value(number.longValue()) : Rowgate.value(form.text());
      }
      case "float" -> Value.newBuilder().setFloat64Value(Double.parseDouble(form.text())).build();
      case "bytes" -> Value.newBuilder().setBytesValue(ByteString.copyFrom(HexFormat.of().parseHex(form.text()))).build();
      case "timestamptz" -> form.text().endsWith("Z") ? instant(Instant.parse(form.text())) : Rowgate.value(form.text());
      case "array" -> array(value.getAsJsonObject());
      case "record" -> {
        var record = RecordValue.newBuilder().addAllFields(parameters(value, "record"));
        yield Value.newBuilder().setRecordValue(record).build();
      }
      case "reference" -> {
        var to = form.content().getAsJsonObject();
        var reference = ResultReference.newBuilder().setStatement(to.get("statement").getAsInt()).setColumn(text(to, "column"));
        yield Value.newBuilder().setResultReference(reference).build();
      }
      default -> Rowgate.value(form.text());
    };
  }

  private static Value instant(Instant time) {
    return Value.newBuilder().setTimestampValue(Timestamp.newBuilder().setSeconds(time.getEpochSecond()).setNanos(time.getNano())).build();
  }

  private static boolean isArray(JsonElement value) {
    return value.isJsonObject() && value.getAsJsonObject().has("array");
  }

  private static Value array(JsonObject value) {
    var array = ArrayValue.newBuilder();
    JsonElement level = value;
    while (isArray(level)) {
      var elements = list(level, "array");
      array.addDimensions(elements.size());
      level = elements.isEmpty() ? JsonNull.INSTANCE : elements.get(0);
    }
    list(value, "lower_bounds").forEach(bound -> array.addLowerBounds(bound.getAsInt()));
    if (array.getDimensionsCount() == 1 && array.getLowerBoundsCount() == 0) {
      array.clearDimensions();
    }
    flatten(value, array);
    return Value.newBuilder().setArrayValue(array).build();
  }

  private static void flatten(JsonElement value, ArrayValue.Builder array) {
    if (isArray(value)) {
      list(value, "array").forEach(inner -> flatten(inner, array));
    } else {
      array.addElements(parameter(value));
    }
  }

  /** A value of a result, as the list writes it. */
  static JsonElement found(Value value, DataType type, DataType element) {
    return switch (value.getKindCase()) {
      case NULL_VALUE -> JsonNull.INSTANCE;
      case BOOL_VALUE -> new JsonPrimitive(value.getBoolValue());
      case INT64_VALUE -> of("int", Long.toString(value.getInt64Value()));
      case FLOAT64_VALUE -> of("float", Double.toString(value.getFloat64Value()));
      case BYTES_VALUE -> of("bytes", HexFormat.of().formatHex(value.getBytesValue().toByteArray()));
      case TIMESTAMP_VALUE -> {
        var time = value.getTimestampValue();
        yield of("timestamptz", Instant.ofEpochSecond(time.getSeconds(), time.getNanos()).toString());
      }
      case TEXT_VALUE -> {
        var form = TEXT_FORMS.getOrDefault(type, "text");
        boolean isNoNumber = form.equals("int") && !value.getTextValue().matches("-?[0-9]+");
        yield of(isNoNumber ? "text" : form, value.getTextValue());
      }
      case RECORD_VALUE -> {
        var fields = new JsonArray();
        value.getRecordValue().getFieldsList().forEach(field -> fields.add(found(field, DataType.DATA_TYPE_TEXT, null)));
        yield of("record", fields);
      }
      case ARRAY_VALUE -> found(value.getArrayValue(), element);
      default -> throw new IllegalStateException("a result with " + value);
    };
  }

  private static JsonObject of(String form, String text) {
    return of(form, new JsonPrimitive(text));
  }

  private static JsonObject of(String form, JsonElement content) {
    var made = new JsonObject();
    made.add(form, content);
    return made;
  }

  private static JsonElement found(ArrayValue array, DataType element) {
    var level = new JsonArray();
    array.getElementsList().forEach(one -> level.add(found(one, element, null)));
    var nested = level;
    for (int i = array.getDimensionsCount() - 1; i > 0; i--) {
      var outer = new JsonArray();
      for (int at = 0; at < nested.size(); at++) {
        if (at % array.getDimensions(i) == 0) {
          outer.add(of("array", new JsonArray()));
        }
        list(outer.get(outer.size() - 1), "array").add(nested.get(at));
      }
      nested = outer;
    }
    var all = of("array", nested);
    if (array.getLowerBoundsList().stream().anyMatch(bound -> bound != 1)) {
      var bounds = new JsonArray();
      array.getLowerBoundsList().forEach(bounds::add);
      all.add("lower_bounds", bounds);
    }
    return all;
  }

  /** Tells if two values of the list are equal by the rules of their form. */
  static boolean same(JsonElement expected, JsonElement found) {
    Form left = form(expected);
    Form right = form(found);
    if (!left.name().equals(right.name())) {
      return false;
    }
    return switch (left.name()) {
      case "null" -> true;
      case "float" -> Double.compare(Double.parseDouble(left.text()), Double.parseDouble(right.text())) == 0;
      case "json" -> document(left.text()).equals(document(right.text()));
      case "time", "timetz", "timestamp", "timestamptz" -> withoutZeros(left.text()).equals(withoutZeros(right.text()));
      case "array", "record" -> {
        var one = left.content().getAsJsonArray();
        var other = right.content().getAsJsonArray();
        boolean isSame = one.size() == other.size() && list(expected, "lower_bounds").toString().equals(list(found, "lower_bounds").toString());
        for (int i = 0; isSame && i < one.size(); i++) {
          isSame = same(one.get(i), other.get(i));
        }
        yield isSame;
      }
      default -> left.text().equals(right.text());
    };
  }

  /** A document in which a text in two lists stands for each number: Gson takes long ones for words. */
  private static JsonElement document(String text) {
    var exact =
        NUMBER_OR_TEXT
            .matcher(text)
            .replaceAll(
                found -> {
                  var token = found.group();
                  var number = token.startsWith("\"") ? token : "[[\"" + new BigDecimal(token).stripTrailingZeros() + "\"]]";
                  return Matcher.quoteReplacement(number);
                });
    return JsonParser.parseString(exact);
  }

  private static String withoutZeros(String time) {
    return time.replaceFirst("(\\.[0-9]*?)0+(?![0-9])", "$1").replaceFirst("\\.(?![0-9])", "");
  }
}
