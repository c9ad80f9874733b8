package io.rowgate.example;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.protobuf.ByteString;
import io.grpc.Context;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import io.rowgate.v1.Begin;
import io.rowgate.v1.Column;
import io.rowgate.v1.Commit;
import io.rowgate.v1.CopyInEnd;
import io.rowgate.v1.CopyInRequest;
import io.rowgate.v1.CopyInResponse;
import io.rowgate.v1.DatabaseServiceGrpc.DatabaseServiceBlockingStub;
import io.rowgate.v1.DatabaseServiceGrpc.DatabaseServiceStub;
import io.rowgate.v1.DescribeStatementRequest;
import io.rowgate.v1.GetTransactionOutcomeRequest;
import io.rowgate.v1.Release;
import io.rowgate.v1.ResultSet;
import io.rowgate.v1.Rollback;
import io.rowgate.v1.RollbackTo;
import io.rowgate.v1.Row;
import io.rowgate.v1.RowBatch;
import io.rowgate.v1.Savepoint;
import io.rowgate.v1.StreamQueryRequest;
import io.rowgate.v1.TransactQuery;
import io.rowgate.v1.TransactRequest;
import io.rowgate.v1.TransactResponse;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Timer;
import java.util.TimerTask;
import java.util.concurrent.TimeUnit;

/** The steps of a case, each as one call or one command of a transaction. */
final class Steps {
  private final DatabaseServiceBlockingStub stub;
  private final DatabaseServiceStub asyncStub;
  private final Map<String, Commands<TransactRequest, TransactResponse>> open = new HashMap<>();
  private int sequence;

  Steps(DatabaseServiceBlockingStub stub, DatabaseServiceStub asyncStub) {
    this.stub = stub.withMaxInboundMessageSize(64 << 20);
    this.asyncStub = asyncStub;
  }

  /** Runs a case; throws where it goes wrong. */
  void run(JsonObject one) throws Exception {
    try {
      for (JsonElement sql : Values.list(one, "setup")) {
        query(Answer.member("sql", sql.getAsString()));
      }
      var steps = one.getAsJsonArray("steps");
      for (int i = 0; i < steps.size(); i++) {
        timed(i, steps.get(i).getAsJsonObject());
      }
    } finally {
      open.values().forEach(transaction -> transaction.requests.cancel("the case is over", null));
    }
  }

  private void timed(int number, JsonObject step) throws Exception {
    long start = System.nanoTime();
    try {
      for (long times = Requests.number(step, "times", 1); times > 0; times--) {
        step(step);
      }
    } catch (RuntimeException | AssertionError error) {
      throw new AssertionError("step " + number + ": " + error.getMessage(), error);
    }
    long took = (System.nanoTime() - start) / 1_000_000;
    if (took > Requests.number(step, "within_ms", 60_000)) {
      throw new AssertionError("step " + number + ": it took " + took + " ms");
    }
  }

  private void step(JsonObject step) throws Exception {
    switch (Values.text(step, "do")) {
      case "echo" -> echo(step);
      case "cancel" -> cancel(step);
      case "pause" -> Thread.sleep(step.get("ms").getAsLong());
      case "abandon" -> transaction(step).requests.cancel("it goes away", null);
      default -> {
        var expect = Requests.object(step, "expect");
        Answer answer;
        try {
          answer = answer(step);
        } catch (StatusRuntimeException error) {
          Answer.compare(expect, error);
          return;
        }
        answer.compare(expect);
      }
    }
  }

  private Answer answer(JsonObject step) throws InterruptedException {
    return switch (Values.text(step, "do")) {
      case "query" -> step.has("in") ? queryIn(step) : query(step);
      case "stream" -> stream(step);
      case "batch" -> step.has("in") ? batchIn(step) : batch(step);
      case "begin" -> begin(step);
      case "savepoint", "rollback_to", "release" -> command(step);
      case "commit", "rollback", "close" -> finish(step);
      case "outcome" -> outcome(step);
      case "describe" -> describe(step);
      case "copy_in" -> copyIn(step);
      case "copy_out" -> copyOut(step);
      default -> throw new IllegalArgumentException("an unknown step: " + step);
    };
  }

  private DatabaseServiceBlockingStub within(JsonObject step) {
    return stub.withDeadlineAfter(Requests.deadline(step), TimeUnit.MILLISECONDS);
  }

  private Answer query(JsonObject step) {
    var answer = within(step).query(Requests.query(step));
    return Answer.of(answer.getResult(), Answer.member("replayed", answer.getReplayed()));
  }

  private Commands<TransactRequest, TransactResponse> transaction(JsonObject step) {
    return open.get(Values.text(step, "in"));
  }

  private TransactResponse ask(Commands<TransactRequest, TransactResponse> transaction, TransactRequest.Builder command) throws InterruptedException {
    sequence++;
    try {
      transaction.requests.onNext(command.setSequence(sequence).build());
    } catch (IllegalStateException over) { // the status, which reply throws, says why
    }
    return reply(transaction);
  }

  private TransactResponse reply(Commands<TransactRequest, TransactResponse> transaction) throws InterruptedException {
    var reply = transaction.next();
    if (reply == null) {
      throw new IllegalStateException("the transaction is over");
    }
    if (reply.hasError()) {
      throw StatusProto.toStatusRuntimeException(reply.getError());
    }
    return reply;
  }

  private Answer queryIn(JsonObject step) throws InterruptedException {
    var query =
        TransactQuery.newBuilder()
            .setSql(Values.text(step, "sql"))
            .addAllParameters(Values.parameters(step, "parameters"))
            .setOptions(Requests.options(step));
    var whole = ResultSet.newBuilder();
    var reply = ask(transaction(step), TransactRequest.newBuilder().setQuery(query));
    while (true) {
      whole.mergeFrom(reply.getResult().getResultSet());
      if (!reply.getResult().getMore()) {
        return Answer.of(whole.build(), new JsonObject());
      }
      reply = reply(transaction(step));
    }
  }

  private Answer stream(JsonObject step) {
    long most = Requests.number(step, "read", Long.MAX_VALUE);
    var context = Context.current().withCancellation();
    var previous = context.attach();
    try {
      var parts = within(step).streamQuery(StreamQueryRequest.newBuilder().setQuery(Requests.query(step)).build());
      List<Column> columns = List.of();
      List<Row> rows = new ArrayList<>();
      var members = new JsonObject();
      while (parts.hasNext()) {
        var part = parts.next();
        columns = part.hasHeader() ? part.getHeader().getColumnsList() : columns;
        rows.addAll(part.getRows().getRowsList());
        if (part.hasSummary()) {
          members.addProperty("rows_affected", part.getSummary().getRowsAffected());
          members.addProperty("command", part.getSummary().getCommand());
          members.addProperty("row_count", part.getSummary().getRowCount());
        }
        if (rows.size() >= most) {
          return new Answer(columns, rows.subList(0, (int) most), List.of(), new JsonObject());
        }
      }
      if (!members.has("row_count") || members.get("row_count").getAsLong() != rows.size()) {
        throw new AssertionError("the stream is incomplete");
      }
      return new Answer(columns, rows, List.of(), members);
    } finally {
      context.detach(previous);
      context.cancel(null); // ends a stream that was not read to its end
    }
  }

  private void echo(JsonObject step) {
    for (JsonElement value : step.getAsJsonArray("values")) {
      var one = Answer.member("sql", Values.text(step, "sql"));
      var row = new JsonArray();
      row.add(value);
      one.add("parameters", row);
      var expect = new JsonObject();
      var rows = new JsonArray();
      rows.add(row);
      expect.add("rows", rows);
      if (step.has("type")) {
        var columns = new JsonArray();
        columns.add(Answer.member("type", Values.text(step, "type")));
        expect.add("columns", columns);
      }
      query(one).compare(expect);
    }
  }

  private Answer batch(JsonObject step) {
    var answer = within(step).executeBatch(Requests.batch(step));
    return new Answer(List.of(), List.of(), answer.getResultsList(), Answer.member("replayed", answer.getReplayed()));
  }

  private Answer batchIn(JsonObject step) throws InterruptedException {
    var reply = ask(transaction(step), TransactRequest.newBuilder().setBatch(Requests.batchIn(step)));
    return new Answer(List.of(), List.of(), reply.getBatchResult().getResultsList(), new JsonObject());
  }

  private Answer begin(JsonObject step) throws InterruptedException {
    var commands = new Commands<TransactRequest, TransactResponse>();
    asyncStub.withDeadlineAfter(30, TimeUnit.SECONDS).transact(commands);
    var begin =
        Begin.newBuilder()
            .setDatabase(Values.text(step, "database"))
            .setTransaction(Requests.transaction(step))
            .setIdempotencyKey(Values.text(step, "key"))
            .setTag(Values.text(step, "tag"))
            .addAllSettings(Requests.settings(step));
    ask(commands, TransactRequest.newBuilder().setBegin(begin));
    open.put(Values.text(step, "as"), commands);
    return Answer.of(new JsonObject());
  }

  private Answer command(JsonObject step) throws InterruptedException {
    var name = Values.text(step, "name");
    var command = TransactRequest.newBuilder();
    switch (Values.text(step, "do")) {
      case "savepoint" -> command.setSavepoint(Savepoint.newBuilder().setName(name));
      case "rollback_to" -> command.setRollbackTo(RollbackTo.newBuilder().setName(name));
      default -> command.setRelease(Release.newBuilder().setName(name));
    }
    ask(transaction(step), command);
    return Answer.of(new JsonObject());
  }

  private Answer finish(JsonObject step) throws InterruptedException {
    switch (Values.text(step, "do")) {
      case "commit" -> ask(transaction(step), TransactRequest.newBuilder().setCommit(Commit.getDefaultInstance()));
      case "rollback" -> ask(transaction(step), TransactRequest.newBuilder().setRollback(Rollback.getDefaultInstance()));
      default -> transaction(step).requests.onCompleted();
    }
    if (transaction(step).next() != null) {
      throw new AssertionError("a reply after the end");
    }
    return Answer.of(new JsonObject());
  }

  private Answer outcome(JsonObject step) {
    var request = GetTransactionOutcomeRequest.newBuilder().setDatabase(Values.text(step, "database")).setIdempotencyKey(Values.text(step, "key"));
    var state = within(step).getTransactionOutcome(request.build()).getState();
    return Answer.of(Answer.member("state", state.name().replace("TRANSACTION_STATE_", "")));
  }

  private Answer describe(JsonObject step) {
    var answer = within(step).describeStatement(DescribeStatementRequest.newBuilder().setSql(Values.text(step, "sql")).build());
    var types =
        answer.getParameterTypesList().stream()
            .map(one -> Column.newBuilder().setType(one.getType()).setElementType(one.getElementType()).setTypeName(one.getTypeName()).build())
            .toList();
    var members = Answer.member("read_only", answer.getReadOnly());
    members.add("parameter_types", Answer.described(types));
    return new Answer(answer.getColumnsList(), List.of(), List.of(), members);
  }

  private Answer copyIn(JsonObject step) throws InterruptedException {
    var call = new Commands<CopyInRequest, CopyInResponse>();
    asyncStub.withDeadlineAfter(Requests.deadline(step), TimeUnit.MILLISECONDS).copyIn(call);
    call.requests.onNext(CopyInRequest.newBuilder().setStart(Requests.copyIn(step)).build());
    if (!Values.list(step, "rows").isEmpty()) {
      var batch = RowBatch.newBuilder();
      for (JsonElement row : step.getAsJsonArray("rows")) {
        var made = Row.newBuilder();
        row.getAsJsonArray().forEach(value -> made.addValues(Values.parameter(value)));
        batch.addRows(made);
      }
      call.requests.onNext(CopyInRequest.newBuilder().setRows(batch).build());
    }
    if (!Values.text(step, "data").isEmpty()) {
      call.requests.onNext(CopyInRequest.newBuilder().setData(ByteString.copyFromUtf8(Values.text(step, "data"))).build());
    }
    call.requests.onNext(CopyInRequest.newBuilder().setEnd(CopyInEnd.getDefaultInstance()).build());
    call.requests.onCompleted();
    var answer = call.next();
    var members = Answer.member("replayed", answer.getReplayed());
    members.addProperty("rows_affected", answer.getRowsAffected());
    return Answer.of(members);
  }

  private Answer copyOut(JsonObject step) {
    List<Column> columns = List.of();
    List<Row> rows = new ArrayList<>();
    var data = ByteString.EMPTY;
    var members = new JsonObject();
    var parts = within(step).copyOut(Requests.copyOut(step));
    while (parts.hasNext()) {
      var part = parts.next();
      columns = part.hasHeader() ? part.getHeader().getColumnsList() : columns;
      rows.addAll(part.getRows().getRowsList());
      data = data.concat(part.getData());
      if (part.hasSummary()) {
        members.addProperty("row_count", part.getSummary().getRowCount());
      }
    }
    members.addProperty("data", data.toStringUtf8());
    return new Answer(columns, rows, List.of(), members);
  }

  private void cancel(JsonObject step) {
    var context = Context.current().withCancellation();
    var timer = new Timer(true);
    timer.schedule(
        new TimerTask() {
          @Override
          public void run() {
            context.cancel(null);
          }
        },
        step.get("after_ms").getAsLong());
    var previous = context.attach();
    try {
      within(step).query(Requests.query(step));
      throw new AssertionError("it ended by itself");
    } catch (StatusRuntimeException error) {
      if (error.getStatus().getCode() != io.grpc.Status.Code.CANCELLED) {
        throw error;
      }
    } finally {
      context.detach(previous);
      timer.cancel();
    }
  }
}
