package io.rowgate.example;

import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientResponseObserver;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;

/** A call with a stream of requests: its answers, one by one. */
final class Commands<Q, R> implements ClientResponseObserver<Q, R> {
  private static final Object END = new Object();

  private final BlockingQueue<Object> arrived = new LinkedBlockingQueue<>();
  ClientCallStreamObserver<Q> requests;

  @Override
  public void beforeStart(ClientCallStreamObserver<Q> stream) {
    requests = stream;
  }

  @Override
  public void onNext(R answer) {
    arrived.add(answer);
  }

  @Override
  public void onError(Throwable error) {
    arrived.add(error);
  }

  @Override
  public void onCompleted() {
    arrived.add(END);
  }

  /** The next answer; null at the end. */
  @SuppressWarnings("unchecked")
  R next() throws InterruptedException {
    Object next = arrived.take(); // the deadline of the call bounds it
    if (next instanceof RuntimeException error) {
      throw error;
    }
    return next == END ? null : (R) next;
  }
}
