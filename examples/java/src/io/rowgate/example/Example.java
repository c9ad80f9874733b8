package io.rowgate.example;

import static io.rowgate.example.Rowgate.value;

import io.grpc.StatusRuntimeException;
import io.rowgate.v1.*;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.TimeUnit;

/** A tour of Rowgate: the result of each step is a line. */
public final class Example {
  private static final String BALANCE = "select owner, cents from example_java where owner = $1";
  private static final String NUMBERS =
      "with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < $1) select n from numbers";

  private final DatabaseServiceGrpc.DatabaseServiceBlockingStub stub;
  private final DatabaseServiceGrpc.DatabaseServiceStub asyncStub;

  private Example(io.grpc.Channel channel) {
    stub = DatabaseServiceGrpc.newBlockingStub(channel);
    asyncStub = DatabaseServiceGrpc.newStub(channel);
  }

  /** The program. */
  public static void main(String[] arguments) throws Exception {
    var channel = Rowgate.connect(arguments[0], System.getenv("ROWGATE_CA"), System.getenv("ROWGATE_TOKEN"));
    try {
      new Example(channel).run();
    } finally {
      channel.shutdownNow().awaitTermination(5, TimeUnit.SECONDS);
    }
  }

  private void run() throws InterruptedException {
    query(5000, "drop table if exists example_java");
    query(5000, "create table example_java (id bigint primary key, owner text not null, cents bigint not null)");
    query(5000, "insert into example_java values (1, 'ann', 1000), (2, 'bob', 500)");
    Row row = query(5000, BALANCE + " and cents >= $2", value("ann"), value(1000)).get(0);
    System.out.println("query: " + row.getValues(0).getTextValue() + " has " + row.getValues(1).getInt64Value());
    try {
      query(5000, "insert into example_java values ($1, $2, $3)", value(1), value("ann"), value(0));
    } catch (StatusRuntimeException failed) {
      var fate = Rowgate.Fate.of(failed);
      System.out.println("error: " + fate.reason() + ", " + fate.outcome());
    }
    batch();
    transaction();
    stream();
    try { // the statement ends in the database, too
      query(500, "select count(*) from (" + NUMBERS + ") as endless", value(1_000_000_000));
    } catch (StatusRuntimeException failed) {
      System.out.println("deadline: " + failed.getStatus().getCode());
    }
    query(5000, "drop table example_java");
    System.out.println("ok");
  }

  private List<Row> query(long millis, String sql, Value... parameters) {
    var request = QueryRequest.newBuilder().setSql(sql).addAllParameters(List.of(parameters)).build();
    return stub.withDeadlineAfter(millis, TimeUnit.MILLISECONDS).query(request).getResult().getRowsList();
  }

  private static long cents(List<Row> rows) {
    return rows.get(0).getValues(1).getInt64Value();
  }

  private static BatchStatement change(String owner, long cents) {
    return BatchStatement.newBuilder()
        .setSql("update example_java set cents = cents + $1 where owner = $2 and cents + $1 >= 0")
        .addAllParameters(List.of(value(cents), value(owner)))
        .setExpect(Expectation.newBuilder().setExactly(1))
        .build();
  }

  /** All or nothing, and once: with its key it may be sent again whatever became of the first call. */
  private void batch() {
    var transfer =
        ExecuteBatchRequest.newBuilder()
            .addStatements(change("ann", -300))
            .addStatements(change("bob", 300))
            .setOptions(QueryOptions.newBuilder().setIdempotencyKey("transfer-" + UUID.randomUUID()))
            .build();
    boolean first = stub.withDeadlineAfter(5, TimeUnit.SECONDS).executeBatch(transfer).getReplayed();
    boolean again = stub.withDeadlineAfter(5, TimeUnit.SECONDS).executeBatch(transfer).getReplayed();
    long ann = cents(query(5000, BALANCE, value("ann")));
    System.out.println("batch: replayed " + first + ", then " + again + ", ann has " + ann);
  }

  /** The first attempt is silent for so long that the server rolls it back; {@code retrying} makes another one. */
  private void transaction() throws InterruptedException {
    var idle = com.google.protobuf.Duration.newBuilder().setNanos(100_000_000);
    var begin = Begin.newBuilder().setTransaction(TransactionOptions.newBuilder().setIdleTimeout(idle)).build();
    int[] attempts = {0};
    Rowgate.retrying(
        () -> {
          try (var transaction = new Rowgate.Transaction(asyncStub, begin)) {
            long half = cents(transaction.query(BALANCE, value("ann"))) / 2;
            if (++attempts[0] == 1) {
              Thread.sleep(500);
            }
            transaction.query("update example_java set cents = $1 where owner = $2", value(half), value("ann"));
            transaction.commit();
          }
        });
    long ann = cents(query(5000, BALANCE, value("ann")));
    System.out.println("transaction: " + attempts[0] + " attempts, ann has " + ann);
  }

  /** A result of any size, in constant memory; it is complete only with its summary. */
  private void stream() {
    var query = QueryRequest.newBuilder().setSql(NUMBERS).addParameters(value(10_000));
    var request = StreamQueryRequest.newBuilder().setQuery(query).build();
    long sum = 0;
    ResultSummary summary = null;
    var parts = stub.withDeadlineAfter(30, TimeUnit.SECONDS).streamQuery(request);
    while (parts.hasNext()) {
      var part = parts.next();
      sum += part.getRows().getRowsList().stream().mapToLong(row -> row.getValues(0).getInt64Value()).sum();
      summary = part.hasSummary() ? part.getSummary() : summary;
    }
    if (summary == null) {
      throw new IllegalStateException("the stream is incomplete");
    }
    System.out.println("stream: " + summary.getRowCount() + " rows, sum " + sum);
  }
}
