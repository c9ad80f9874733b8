package io.rowgate.example;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import com.google.rpc.Status;
import io.grpc.protobuf.StatusProto;
import io.rowgate.v1.DatabaseError;
import java.time.Duration;
import java.util.List;
import java.util.Optional;

/** A call, or a statement in a transaction, that failed. */
final class RowgateException extends RuntimeException {
  private final io.grpc.Status.Code code;
  private String reason = "";
  private String outcome = "UNKNOWN";
  private Duration retryDelay;
  private List<String> fields = List.of();
  private DatabaseError database = DatabaseError.getDefaultInstance();

  RowgateException(Status status) {
    super(status.getMessage());
    code = io.grpc.Status.fromCodeValue(status.getCode()).getCode();
    try {
      for (Any detail : status.getDetailsList()) {
        read(detail);
      }
    } catch (InvalidProtocolBufferException damaged) {
      addSuppressed(damaged);
    }
  }

  /** Of the status of a call. */
  static RowgateException of(Throwable error) {
    return new RowgateException(StatusProto.fromThrowable(error));
  }

  @Override
  public String getMessage() {
    return code + " " + reason + ": " + super.getMessage() + " (" + outcome + ")";
  }

  private void read(Any detail) throws InvalidProtocolBufferException {
    if (detail.is(ErrorInfo.class)) {
      ErrorInfo info = detail.unpack(ErrorInfo.class);
      if (info.getDomain().equals("rowgate")) {
        reason = info.getReason();
        outcome = info.getMetadataOrDefault("outcome", "UNKNOWN");
      }
    } else if (detail.is(RetryInfo.class)) {
      var delay = detail.unpack(RetryInfo.class).getRetryDelay();
      retryDelay = Duration.ofSeconds(delay.getSeconds(), delay.getNanos());
    } else if (detail.is(BadRequest.class)) {
      var violations = detail.unpack(BadRequest.class).getFieldViolationsList();
      fields = violations.stream().map(BadRequest.FieldViolation::getField).toList();
    } else if (detail.is(DatabaseError.class)) {
      database = detail.unpack(DatabaseError.class);
    }
  }

  io.grpc.Status.Code code() {
    return code;
  }

  String reason() {
    return reason;
  }

  /** NOT_APPLIED, APPLIED or UNKNOWN. What was made on the way, by the client library or a proxy, cannot know. */
  String outcome() {
    return outcome;
  }

  /** When it is there, the same call may be sent again, after so long. */
  Optional<Duration> retryDelay() {
    return Optional.ofNullable(retryDelay);
  }

  /** Fields of the request that are to blame, as in {@code parameters[0]} for {@code $1}. */
  List<String> fields() {
    return fields;
  }

  /** SQLSTATE, constraint, position and more. */
  DatabaseError database() {
    return database;
  }
}
