package io.rowgate.example;

import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientResponseObserver;
import io.rowgate.v1.Begin;
import io.rowgate.v1.Commit;
import io.rowgate.v1.DatabaseServiceGrpc.DatabaseServiceStub;
import io.rowgate.v1.Release;
import io.rowgate.v1.RollbackTo;
import io.rowgate.v1.Row;
import io.rowgate.v1.Savepoint;
import io.rowgate.v1.TransactQuery;
import io.rowgate.v1.TransactRequest;
import io.rowgate.v1.TransactResponse;
import io.rowgate.v1.TransactResult;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** An interactive transaction, for one thread. One that is closed without a commit is rolled back at once. */
final class Transaction implements AutoCloseable {
  private final Replies replies = new Replies();
  private int sequence;

  Transaction(DatabaseServiceStub stub, Begin begin, long timeoutSeconds) {
    stub.withDeadlineAfter(timeoutSeconds, TimeUnit.SECONDS).transact(replies);
    try {
      ask(TransactRequest.newBuilder().setBegin(begin));
    } catch (RuntimeException error) {
      close();
      throw error;
    }
  }

  List<Row> query(String sql, Object... parameters) {
    var query = TransactQuery.newBuilder().setSql(sql).addAllParameters(Rowgate.values(parameters));
    TransactResult result = ask(TransactRequest.newBuilder().setQuery(query)).getResult();
    List<Row> rows = new ArrayList<>(result.getResultSet().getRowsList());
    while (result.getMore()) { // a large result comes in parts
      result = replies.next().getResult();
      rows.addAll(result.getResultSet().getRowsList());
    }
    return rows;
  }

  /** Undoes what {@code work} did when it throws; the transaction goes on. */
  void savepoint(String name, Runnable work) {
    ask(TransactRequest.newBuilder().setSavepoint(Savepoint.newBuilder().setName(name)));
    try {
      work.run();
    } catch (RuntimeException error) {
      ask(TransactRequest.newBuilder().setRollbackTo(RollbackTo.newBuilder().setName(name)));
      throw error;
    }
    ask(TransactRequest.newBuilder().setRelease(Release.newBuilder().setName(name)));
  }

  void commit() {
    ask(TransactRequest.newBuilder().setCommit(Commit.getDefaultInstance()));
    if (replies.take() != Replies.END) { // the stream ends with the last reply
      throw new IllegalStateException("a reply after the end");
    }
  }

  @Override
  public void close() {
    replies.commands.cancel("the transaction is closed", null); // after a commit this does nothing
  }

  private TransactResponse ask(TransactRequest.Builder command) {
    sequence++;
    replies.commands.onNext(command.setSequence(sequence).build());
    return replies.next();
  }

  /** Hands replies from gRPC's threads to ours, one at a time: what is not asked for stays on the server. */
  private static final class Replies implements ClientResponseObserver<TransactRequest, TransactResponse> {
    private static final Object END = new Object();

    private final BlockingQueue<Object> arrived = new LinkedBlockingQueue<>();
    private ClientCallStreamObserver<TransactRequest> commands;

    @Override
    public void beforeStart(ClientCallStreamObserver<TransactRequest> stream) {
      commands = stream;
      stream.disableAutoRequestWithInitial(0);
    }

    @Override
    public void onNext(TransactResponse reply) {
      arrived.add(reply);
    }

    @Override
    public void onError(Throwable error) {
      arrived.add(error);
    }

    @Override
    public void onCompleted() {
      arrived.add(END);
    }

    TransactResponse next() {
      Object next = take();
      if (next == END) {
        throw new IllegalStateException("the transaction is over");
      }
      var reply = (TransactResponse) next;
      if (reply.hasError()) { // a statement failed, the transaction is open
        throw new RowgateException(reply.getError());
      }
      return reply;
    }

    /** Takes the next reply, or {@code END}. */
    private Object take() {
      commands.request(1);
      Object next;
      try {
        next = arrived.take(); // the deadline of the call bounds it
      } catch (InterruptedException interrupted) {
        Thread.currentThread().interrupt();
        throw new IllegalStateException("interrupted", interrupted);
      }
      if (next instanceof Throwable error) { // the status of the stream: the transaction is over
        throw RowgateException.of(error);
      }
      return next;
    }
  }
}
