# frozen_string_literal: true

require 'google/protobuf/well_known_types'
require 'google/rpc/error_details_pb'
require 'google/rpc/status_pb'
require 'grpc'
require 'rowgate/v1/database_services_pb'
require 'rowgate/v1/error_pb'

# What a service wants around the generated stubs: a stub, plain values, errors that say what became of the work, and
# transactions as blocks.
module Rowgate
  # A call, or a statement in a transaction, that failed. outcome: NOT_APPLIED, APPLIED or UNKNOWN, as of all that the
  # client library or a proxy reports. With a retry_delay, in seconds, the same call may be sent again after it.
  class Error < StandardError
    attr_reader :status, :reason, :outcome, :retry_delay

    def initialize(status)
      @status = status
      @outcome = 'UNKNOWN'
      status.details.each do |detail|
        info = detail.unpack(Google::Rpc::ErrorInfo)
        @reason, @outcome = info.reason, info.metadata['outcome'] if info&.domain == 'rowgate'
        delay = detail.unpack(Google::Rpc::RetryInfo)&.retry_delay
        @retry_delay = delay.seconds + delay.nanos / 1e9 if delay
      end
      super("#{status.message} (code #{status.code}, #{@reason}, #{@outcome})")
    end
  end

  module_function

  # A stub for the whole process: it is thread-safe, and reconnects by itself. TLS to https://, and where ca names a PEM
  # file with the authorities to trust. The token is sent with each call. timeout: seconds, of calls without a deadline.
  def connect(address, ca: nil, token: nil, timeout: 5)
    credentials = :this_channel_is_insecure
    credentials = GRPC::Core::ChannelCredentials.new(*(ca && File.read(ca))) if ca || address.start_with?('https://')
    if token
      raise ArgumentError, 'a token is sent over TLS only' unless credentials.respond_to?(:compose)

      credentials = credentials.compose(GRPC::Core::CallCredentials.new(->(_) { { authorization: "Bearer #{token}" } }))
    end
    V1::DatabaseService::Stub.new(address.sub(%r{\Ahttps?://}, ''), credentials, timeout: timeout,
                                  channel_args: { 'grpc.lb_policy_name' => 'round_robin' })
  end

  # Parameters. A string of encoding BINARY is sent as bytes; the database parses the text of any type.
  def values(*plain)
    plain.map do |one|
      case one
      when nil then V1::Value.new(null_value: :NULL_VALUE)
      when true, false then V1::Value.new(bool_value: one)
      when Integer then V1::Value.new(int64_value: one)
      when Float then V1::Value.new(float64_value: one)
      when Time then V1::Value.new(timestamp_value: { seconds: one.to_i, nanos: one.nsec })
      else one.to_s.encoding == Encoding::BINARY ? V1::Value.new(bytes_value: one) : V1::Value.new(text_value: one.to_s)
      end
    end
  end

  # The rows of a result, or of a part of one. A timestamp is a Google::Protobuf::Timestamp, nil is NULL.
  def rows(result)
    result.rows.map { |row| row.values.map { |value| value.kind == :null_value ? nil : value[value.kind.to_s] } }
  end

  # Turns errors of gRPC into Rowgate::Error.
  def errors
    yield
  rescue GRPC::BadStatus => e
    raise Error, e.to_rpc_status || Google::Rpc::Status.new(code: e.code, message: e.details.to_s)
  end

  # Runs the block up to three times: again only where nothing was applied, and not before the server's delay.
  def retrying(attempt = 1, &block)
    errors(&block)
  rescue Error => e
    raise unless e.outcome == 'NOT_APPLIED' && e.retry_delay && attempt < 3

    sleep e.retry_delay * 2**(attempt - 1) * rand(1.0..1.5)
    retrying(attempt + 1, &block)
  end

  # A transaction: committed when the block ends, rolled back when it raises.
  def transaction(stub, start = V1::Begin.new, timeout: 30)
    commands = Queue.new
    call = stub.transact(Enumerator.produce { commands.pop or raise StopIteration }, deadline: Time.now + timeout, return_op: true)
    transaction = Transaction.new(commands, call.execute)
    transaction.ask(begin: start)
    result = yield transaction
    transaction.ask(commit: V1::Commit.new)
    transaction.finish
    result
  ensure
    call&.cancel # without a commit this rolls back at once
    commands << nil
  end

  # What the block of Rowgate.transaction is given.
  class Transaction
    def initialize(commands, replies)
      @commands, @replies, @sequence = commands, replies, 0
    end

    def query(sql, *parameters)
      reply = ask(query: V1::TransactQuery.new(sql: sql, parameters: Rowgate.values(*parameters)))
      rows = Rowgate.rows(reply.result.result_set)
      rows.concat(Rowgate.rows((reply = next_reply).result.result_set)) while reply.result.more # a large result comes in parts
      rows
    end

    def ask(command)
      @commands << V1::TransactRequest.new(sequence: @sequence += 1, **command)
      next_reply
    end

    def next_reply
      reply = Rowgate.errors { @replies.next } # raises when the transaction is over
      reply.reply == :error ? raise(Error, reply.error) : reply # after an error of a statement it is open
    end

    # Waits for the end of the stream, which comes with the last reply.
    def finish
      @commands << nil
      Rowgate.errors { @replies.next }
    rescue StopIteration
      nil
    end
  end
end
