package io.rowgate.example;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.*;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.MetadataUtils;
import io.grpc.stub.StreamObserver;
import io.rowgate.v1.*;
import java.io.File;
import java.io.IOException;
import java.util.*;
import java.util.concurrent.*;

/** What a service wants around the generated stubs: a channel, parameters, what became of a failed call, and transactions. */
final class Rowgate {
  private Rowgate() {}

  /**
   * A channel for the whole process: it is thread-safe, and reconnects by itself. It speaks TLS to https://, and where {@code ca} names a
   * PEM file with the authorities to trust. The token is sent with each call, over TLS only. Both may be null.
   */
  static ManagedChannel connect(String address, String ca, String token) throws IOException {
    boolean encrypted = ca != null || address.startsWith("https://");
    if (token != null && !encrypted) {
      throw new IllegalArgumentException("a token is sent over TLS only: name the authorities, or write https://");
    }
    var tls = TlsChannelCredentials.newBuilder();
    if (ca != null) {
      tls.trustManager(new File(ca));
    }
    var headers = new Metadata();
    if (token != null) {
      headers.put(Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER), "Bearer " + token);
    }
    return Grpc.newChannelBuilder(address.replaceFirst("^https?://", ""), encrypted ? tls.build() : InsecureChannelCredentials.create())
        .intercept(MetadataUtils.newAttachHeadersInterceptor(headers))
        .defaultLoadBalancingPolicy("round_robin")
        .build();
  }

  /** Parameters; value.proto has the other kinds. The database parses the text of any type. */
  static Value value(long number) {
    return Value.newBuilder().setInt64Value(number).build();
  }

  static Value value(String text) {
    return Value.newBuilder().setTextValue(text).build();
  }

  /**
   * Why a call failed, and what became of it: NOT_APPLIED, APPLIED or UNKNOWN, as of all that the client library or a proxy reports. With
   * a delay, which is not null, the same call may be sent again after it.
   */
  record Fate(String reason, String outcome, Long delayMillis) {
    static Fate of(StatusRuntimeException failed) {
      var info = ErrorInfo.getDefaultInstance();
      Long delay = null;
      try {
        for (Any detail : StatusProto.fromThrowable(failed).getDetailsList()) {
          if (detail.is(ErrorInfo.class)) {
            info = detail.unpack(ErrorInfo.class);
          } else if (detail.is(RetryInfo.class)) {
            var after = detail.unpack(RetryInfo.class).getRetryDelay();
            delay = after.getSeconds() * 1000 + after.getNanos() / 1_000_000;
          }
        }
      } catch (InvalidProtocolBufferException damaged) {
        failed.addSuppressed(damaged);
      }
      boolean ours = info.getDomain().equals("rowgate");
      return new Fate(info.getReason(), ours ? info.getMetadataOrDefault("outcome", "UNKNOWN") : "UNKNOWN", delay);
    }
  }

  /** Does {@code work} up to three times: again only where nothing was applied, and not before the server's delay. */
  static void retrying(Work work) throws InterruptedException {
    for (int attempt = 1; ; attempt++) {
      try {
        work.run();
        return;
      } catch (StatusRuntimeException failed) {
        var fate = Fate.of(failed);
        if (!fate.outcome().equals("NOT_APPLIED") || fate.delayMillis() == null || attempt == 3) {
          throw failed;
        }
        Thread.sleep((long) (fate.delayMillis() * attempt * ThreadLocalRandom.current().nextDouble(1, 1.5)));
      }
    }
  }

  interface Work {
    void run() throws InterruptedException;
  }

  /** A transaction, for one thread. One that is closed without a commit is rolled back at once. */
  static final class Transaction implements AutoCloseable, StreamObserver<TransactResponse> {
    private final BlockingQueue<Object> replies = new LinkedBlockingQueue<>();
    private final StreamObserver<TransactRequest> commands;
    private int sequence;

    Transaction(DatabaseServiceGrpc.DatabaseServiceStub stub, Begin begin) throws InterruptedException {
      commands = stub.withDeadlineAfter(30, TimeUnit.SECONDS).transact(this);
      ask(TransactRequest.newBuilder().setBegin(begin));
    }

    List<Row> query(String sql, Value... parameters) throws InterruptedException {
      var query = TransactQuery.newBuilder().setSql(sql).addAllParameters(List.of(parameters));
      return ask(TransactRequest.newBuilder().setQuery(query));
    }

    void commit() throws InterruptedException {
      ask(TransactRequest.newBuilder().setCommit(Commit.getDefaultInstance()));
      replies.take(); // the call ends with it
    }

    @Override
    public void close() {
      commands.onError(Status.CANCELLED.asException()); // after a commit this does nothing
    }

    private List<Row> ask(TransactRequest.Builder command) throws InterruptedException {
      commands.onNext(command.setSequence(++sequence).build());
      var rows = new ArrayList<Row>();
      TransactResult part;
      do { // a large result comes in parts
        Object next = replies.take(); // the deadline of the call bounds it
        if (next instanceof RuntimeException over) {
          throw over;
        }
        var reply = (TransactResponse) next;
        if (reply.hasError()) { // a statement failed, the transaction is open
          throw StatusProto.toStatusRuntimeException(reply.getError());
        }
        part = reply.getResult();
        rows.addAll(part.getResultSet().getRowsList());
      } while (part.getMore());
      return rows;
    }

    @Override
    public void onNext(TransactResponse reply) {
      replies.add(reply);
    }

    @Override
    public void onError(Throwable failed) {
      replies.add(failed);
    }

    @Override
    public void onCompleted() {
      replies.add(new IllegalStateException("the transaction is over"));
    }
  }
}
