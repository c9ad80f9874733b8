package io.rowgate.example;

import io.grpc.ManagedChannel;
import io.grpc.health.v1.HealthCheckRequest;
import io.grpc.health.v1.HealthGrpc;
import io.rowgate.v1.BatchStatement;
import io.rowgate.v1.Begin;
import io.rowgate.v1.DatabaseServiceGrpc;
import io.rowgate.v1.DatabaseServiceGrpc.DatabaseServiceBlockingStub;
import io.rowgate.v1.DatabaseServiceGrpc.DatabaseServiceStub;
import io.rowgate.v1.ExecuteBatchRequest;
import io.rowgate.v1.ExecuteBatchResponse;
import io.rowgate.v1.Expectation;
import io.rowgate.v1.QueryOptions;
import io.rowgate.v1.QueryRequest;
import io.rowgate.v1.ResultSet;
import io.rowgate.v1.ResultSummary;
import io.rowgate.v1.Row;
import io.rowgate.v1.StreamQueryRequest;
import io.rowgate.v1.TransactionOptions;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;

/**
 * A tour of Rowgate: each step prints one line, and the first that is not as it should be ends the program.
 *
 * <p>Usage: Example [ADDRESS]
 */
public final class Example {
  private static final String TABLE = "example_java";
  private static final String INSERT = "insert into " + TABLE + " (id, owner, cents) values ($1, $2, $3)";

  private final ManagedChannel channel;
  private final DatabaseServiceBlockingStub stub;
  private final DatabaseServiceStub asyncStub;

  private Example(ManagedChannel channel) {
    this.channel = channel;
    stub = DatabaseServiceGrpc.newBlockingStub(channel);
    asyncStub = DatabaseServiceGrpc.newStub(channel);
  }

  /** The program. */
  public static void main(String[] arguments) throws Exception {
    String set = System.getenv().getOrDefault("ROWGATE_ADDRESS", "127.0.0.1:50051");
    String address = arguments.length > 0 ? arguments[0] : set;
    ManagedChannel channel =
        Rowgate.connect(address, System.getenv("ROWGATE_CA"), System.getenv("ROWGATE_TOKEN"));
    try {
      new Example(channel).run();
    } finally {
      channel.shutdownNow().awaitTermination(5, TimeUnit.SECONDS);
    }
  }

  private void run() throws InterruptedException {
    health();
    makeTable();
    query();
    stream();
    batchWithKey();
    transactionWithSavepoint();
    errorDetails();
    transactionAgain();
    deadline();
    query("drop table " + TABLE);
    System.out.println("ok");
  }

  private void health() {
    var request = HealthCheckRequest.newBuilder().setService("rowgate.v1.DatabaseService").build();
    var stub = HealthGrpc.newBlockingStub(channel).withDeadlineAfter(5, TimeUnit.SECONDS);
    var answer = Rowgate.call(() -> stub.check(request));
    show("health", answer.getStatus().name(), "SERVING");
  }

  /** A table is created outside of batches and transactions: MySQL and MariaDB would commit them. */
  private void makeTable() {
    query("drop table if exists " + TABLE);
    query("create table " + TABLE + " (id bigint primary key, owner text not null, cents bigint not null)");
    execute(
        ExecuteBatchRequest.newBuilder()
            .addStatements(statement(INSERT, 1, "ann", 1000))
            .addStatements(statement(INSERT, 2, "bob", 500))
            .build());
  }

  private void query() {
    String sql = "select owner, cents from " + TABLE + " where owner = $1 and cents >= $2";
    Row row = query(sql, "ann", 1000).getRows(0);
    String got = row.getValues(0).getTextValue() + " has " + row.getValues(1).getInt64Value();
    show("query", got, "ann has 1000");
  }

  /** A result of any size, in constant memory; it is complete only with its summary. */
  private void stream() {
    String numbers =
        "with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < $1)"
            + " select n from numbers";
    var query = QueryRequest.newBuilder().setSql(numbers).addAllParameters(Rowgate.values(10_000));
    var parts =
        stub.withDeadlineAfter(30, TimeUnit.SECONDS)
            .streamQuery(StreamQueryRequest.newBuilder().setQuery(query).build());
    long sum = 0;
    ResultSummary summary = null;
    while (Rowgate.call(parts::hasNext)) {
      var part = parts.next();
      switch (part.getPartCase()) {
        case ROWS -> sum += part.getRows().getRowsList().stream().mapToLong(row -> row.getValues(0).getInt64Value()).sum();
        case SUMMARY -> summary = part.getSummary();
        default -> { }
      }
    }
    if (summary == null) {
      throw new IllegalStateException("the stream is incomplete");
    }
    show("stream", summary.getRowCount() + " rows, sum " + sum, "10000 rows, sum 50005000");
  }

  /** All or nothing, and once: with the key it may be sent again whatever became of the first call. */
  private void batchWithKey() {
    var one = Expectation.newBuilder().setExactly(1);
    String take = "update " + TABLE + " set cents = cents - $1 where id = $2 and cents >= $1";
    String give = "update " + TABLE + " set cents = cents + $1 where id = $2";
    var transfer =
        ExecuteBatchRequest.newBuilder()
            .addStatements(statement(take, 300, 1).setExpect(one))
            .addStatements(statement(give, 300, 2).setExpect(one))
            .setOptions(QueryOptions.newBuilder().setIdempotencyKey("transfer-" + UUID.randomUUID()))
            .build();
    var first = execute(transfer);
    var again = execute(transfer);
    show(
        "batch",
        "replayed " + first.getReplayed() + ", then " + again.getReplayed() + ", " + balances(),
        "replayed false, then true, ann 700, bob 800");
  }

  private void transactionWithSavepoint() {
    RowgateException undone;
    try (var transaction = new Transaction(asyncStub, Begin.getDefaultInstance(), 30)) {
      var rows = transaction.query("select cents from " + TABLE + " where id = $1", 1);
      long half = rows.get(0).getValues(0).getInt64Value() / 2;
      transaction.query("update " + TABLE + " set cents = $1 where id = $2", half, 1);
      Runnable duplicate = () -> transaction.query(INSERT, 2, "bob", 0);
      undone = failure(() -> transaction.savepoint("before_insert", duplicate));
      transaction.commit();
    }
    show(
        "transaction",
        undone.reason() + " undone, " + balances(),
        "UNIQUE_VIOLATION undone, ann 350, bob 800");
  }

  private void errorDetails() {
    RowgateException error = failure(() -> query(INSERT, 1, "ann", 0));
    show(
        "error",
        error.code() + " " + error.reason() + " " + error.outcome(),
        "ALREADY_EXISTS UNIQUE_VIOLATION NOT_APPLIED");
  }

  /** The server rolls back a transaction that is silent for too long; RetryInfo says when to begin again. */
  private void transactionAgain() throws InterruptedException {
    var idle = com.google.protobuf.Duration.newBuilder().setNanos(100_000_000);
    var begin =
        Begin.newBuilder().setTransaction(TransactionOptions.newBuilder().setIdleTimeout(idle)).build();
    List<String> failures = new ArrayList<>();
    Rowgate.retrying(
        3,
        () -> {
          try (var transaction = new Transaction(asyncStub, begin, 30)) {
            if (failures.isEmpty()) {
              pause(500);
            }
            transaction.query("update " + TABLE + " set cents = cents + 1 where id = $1", 1);
            transaction.commit();
            return null;
          } catch (RowgateException error) {
            failures.add(error.reason() + " " + error.outcome());
            throw error;
          }
        });
    show(
        "retry",
        String.join(", ", failures) + ", " + balances(),
        "IDLE_IN_TRANSACTION_TIMEOUT NOT_APPLIED, ann 351, bob 800");
  }

  /** The statement ends in the database, too, and the answer says so just before the deadline. */
  private void deadline() {
    var endless =
        QueryRequest.newBuilder()
            .setSql(
                "with recursive numbers (n) as"
                    + " (select 1 union all select n + 1 from numbers where n < 1000000000)"
                    + " select count(*) from numbers")
            .build();
    var limited = stub.withDeadlineAfter(500, TimeUnit.MILLISECONDS);
    RowgateException error = failure(() -> Rowgate.call(() -> limited.query(endless)));
    show("deadline", error.code().name(), "DEADLINE_EXCEEDED");
  }

  private ResultSet query(String sql, Object... parameters) {
    var request = QueryRequest.newBuilder().setSql(sql).addAllParameters(Rowgate.values(parameters)).build();
    return Rowgate.call(() -> stub.withDeadlineAfter(2, TimeUnit.SECONDS).query(request)).getResult();
  }

  private ExecuteBatchResponse execute(ExecuteBatchRequest batch) {
    return Rowgate.call(() -> stub.withDeadlineAfter(5, TimeUnit.SECONDS).executeBatch(batch));
  }

  private static BatchStatement.Builder statement(String sql, Object... parameters) {
    return BatchStatement.newBuilder().setSql(sql).addAllParameters(Rowgate.values(parameters));
  }

  private String balances() {
    return query("select owner, cents from " + TABLE + " order by id").getRowsList().stream()
        .map(row -> row.getValues(0).getTextValue() + " " + row.getValues(1).getInt64Value())
        .collect(Collectors.joining(", "));
  }

  /** The error that {@code work} fails with. */
  private static RowgateException failure(Runnable work) {
    try {
      work.run();
    } catch (RowgateException error) {
      return error;
    }
    throw new IllegalStateException("it did not fail");
  }

  private static void pause(long millis) {
    try {
      Thread.sleep(millis);
    } catch (InterruptedException interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  private static void show(String step, String got, String wanted) {
    if (!got.equals(wanted)) {
      throw new IllegalStateException(step + ": got " + got + ", wanted " + wanted);
    }
    System.out.println(step + ": " + got);
  }
}
