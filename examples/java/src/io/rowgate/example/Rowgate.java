package io.rowgate.example;

import com.google.gson.Gson;
import com.google.protobuf.ByteString;
import com.google.protobuf.NullValue;
import com.google.protobuf.Timestamp;
import io.grpc.CallCredentials;
import io.grpc.ChannelCredentials;
import io.grpc.CompositeChannelCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.StatusRuntimeException;
import io.grpc.TlsChannelCredentials;
import io.rowgate.v1.Value;
import java.io.File;
import java.io.IOException;
import java.time.Instant;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executor;
import java.util.concurrent.ThreadLocalRandom;
import java.util.function.Supplier;

/** What a service wants around the generated stubs: a channel, parameters, and retries that respect outcomes. */
final class Rowgate {
  /** The same as in service-config.json: turns over all addresses, and a retry policy for calls that only read. */
  private static final String SERVICE_CONFIG =
      """
      {
        "loadBalancingConfig": [{ "round_robin": {} }],
        "methodConfig": [
          {
            "name": [
              { "service": "rowgate.v1.DatabaseService", "method": "DescribeStatement" },
              { "service": "rowgate.v1.DatabaseService", "method": "GetTransactionOutcome" },
              { "service": "rowgate.v1.ServerService" }
            ],
            "retryPolicy": {
              "maxAttempts": 4,
              "initialBackoff": "0.1s",
              "maxBackoff": "2s",
              "backoffMultiplier": 2,
              "retryableStatusCodes": ["UNAVAILABLE"]
            }
          }
        ],
        "retryThrottling": { "maxTokens": 10, "tokenRatio": 0.1 }
      }
      """;

  private Rowgate() {}

  /**
   * A channel for the whole process: it is thread-safe, and reconnects by itself. It speaks TLS to an address with
   * https://, and where {@code ca} names a PEM file with the authorities that are trusted. The token, which may be null
   * like the file, is sent with each call.
   */
  static ManagedChannel connect(String address, String ca, String token) throws IOException {
    @SuppressWarnings("unchecked")
    Map<String, ?> parsed = new Gson().fromJson(SERVICE_CONFIG, Map.class);
    boolean encrypted = ca != null || address.startsWith("https://");
    if (token != null && !encrypted) {
      throw new IllegalArgumentException(
          "a token is sent over TLS only: name the authorities, or write https://");
    }
    var credentials = encrypted ? tls(ca, token) : InsecureChannelCredentials.create();
    return Grpc.newChannelBuilder(address.replaceFirst("^https?://", ""), credentials)
        .defaultServiceConfig(parsed)
        .enableRetry()
        .build();
  }

  private static ChannelCredentials tls(String ca, String token) throws IOException {
    var tls = TlsChannelCredentials.newBuilder();
    if (ca != null) {
      tls.trustManager(new File(ca));
    }
    var channel = tls.build();
    return token == null ? channel : CompositeChannelCredentials.create(channel, new Bearer(token));
  }

  /** Sends a token with each call. */
  private static final class Bearer extends CallCredentials {
    private final Metadata headers = new Metadata();

    Bearer(String token) {
      headers.put(Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER), "Bearer " + token);
    }

    @Override
    public void applyRequestMetadata(RequestInfo call, Executor executor, MetadataApplier applier) {
      applier.apply(headers);
    }

    @Override
    public void thisUsesUnstableApi() {}
  }

  /** Parameters. */
  static List<Value> values(Object... plain) {
    return Arrays.stream(plain).map(Rowgate::value).toList();
  }

  private static Value value(Object plain) {
    Value.Builder value = Value.newBuilder();
    if (plain == null) {
      value.setNullValue(NullValue.NULL_VALUE);
    } else if (plain instanceof Boolean bool) {
      value.setBoolValue(bool);
    } else if (plain instanceof Integer || plain instanceof Long) {
      value.setInt64Value(((Number) plain).longValue());
    } else if (plain instanceof Double number) {
      value.setFloat64Value(number);
    } else if (plain instanceof byte[] bytes) {
      value.setBytesValue(ByteString.copyFrom(bytes));
    } else if (plain instanceof Instant time) {
      value.setTimestampValue(
          Timestamp.newBuilder().setSeconds(time.getEpochSecond()).setNanos(time.getNano()));
    } else { // the database parses the text of any type
      value.setTextValue(plain.toString());
    }
    return value.build();
  }

  /** Calls, and turns errors of gRPC into {@link RowgateException}. */
  static <T> T call(Supplier<T> call) {
    try {
      return call.get();
    } catch (StatusRuntimeException error) {
      throw RowgateException.of(error);
    }
  }

  /** Does it again where nothing was applied and it may succeed later, as RetryInfo says. */
  static <T> T retrying(int attempts, Supplier<T> work) throws InterruptedException {
    for (int attempt = 1; ; attempt++) {
      try {
        return call(work);
      } catch (RowgateException error) {
        if (!error.outcome().equals("NOT_APPLIED") || error.retryDelay().isEmpty() || attempt >= attempts) {
          throw error;
        }
        long delay = error.retryDelay().get().toMillis() << (attempt - 1);
        Thread.sleep(delay + ThreadLocalRandom.current().nextLong(delay / 2 + 1));
      }
    }
  }
}
