# frozen_string_literal: true

require 'google/protobuf/well_known_types'
require 'google/rpc/error_details_pb'
require 'google/rpc/status_pb'
require 'grpc'
require 'grpc/health/v1/health_services_pb'
require 'rowgate/v1/database_services_pb'
require 'rowgate/v1/error_pb'

# What a service wants around the generated stubs: a channel, plain values, errors that say what became of the
# work, retries that respect that, and transactions as blocks.
module Rowgate
  # The same as in service-config.json: turns over all addresses, and a retry policy for calls that only read.
  SERVICE_CONFIG = <<~JSON
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
  JSON

  # A call, or a statement in a transaction, that failed.
  class Error < StandardError
    # outcome: NOT_APPLIED, APPLIED or UNKNOWN. retry_delay: with it the same call may be sent again, after so many
    # seconds. fields: those of the request that are to blame, as parameters[0]. database: SQLSTATE, constraint and more.
    attr_reader :code, :reason, :outcome, :retry_delay, :fields, :database

    def self.of(error)
      # Without details the status was made on the way: by the client library, or a proxy.
      new(error.to_rpc_status || Google::Rpc::Status.new(code: error.code, message: error.details.to_s))
    end

    def initialize(status)
      super(status.message)
      @code = GRPC::Core::StatusCodes.constants.find { |name| GRPC::Core::StatusCodes.const_get(name) == status.code }
      find = ->(type) { status.details.filter_map { |detail| detail.unpack(type) }.first }
      info = find.(Google::Rpc::ErrorInfo)
      ours = info&.domain == 'rowgate'
      @reason = ours ? info.reason : ''
      @outcome = ours ? info.metadata['outcome'] : 'UNKNOWN'
      delay = find.(Google::Rpc::RetryInfo)&.retry_delay
      @retry_delay = delay && delay.seconds + delay.nanos / 1e9
      @fields = find.(Google::Rpc::BadRequest)&.field_violations.to_a.map(&:field)
      @database = find.(V1::DatabaseError)
    end
  end

  module_function

  # A channel for the whole process: it is thread-safe, and reconnects by itself. TLS with an address of https://, and
  # where ca names a PEM file with the authorities that are trusted. The token is sent with each call.
  def connect(address, ca: nil, token: nil)
    arguments = { 'grpc.service_config' => SERVICE_CONFIG }
    encrypted = ca || address.start_with?('https://')
    raise ArgumentError, 'a token is sent over TLS only: name the authorities, or write https://' if token && !encrypted

    credentials = encrypted ? tls(ca, token) : :this_channel_is_insecure
    GRPC::Core::Channel.new(address.sub(%r{\Ahttps?://}, ''), arguments, credentials)
  end

  def tls(ca, token)
    credentials = ca ? GRPC::Core::ChannelCredentials.new(File.read(ca)) : GRPC::Core::ChannelCredentials.new
    return credentials unless token

    bearer = GRPC::Core::CallCredentials.new(->(_) { { authorization: "Bearer #{token}" } })
    credentials.compose(bearer)
  end

  # A stub of a service on the channel, with a default of seconds for the calls that give no deadline.
  def stub(service, channel, timeout: 5)
    service::Stub.new(nil, nil, channel_override: channel, timeout: timeout)
  end

  # Parameters.
  def values(*plain)
    plain.map { |one| value(one) }
  end

  def value(plain)
    case plain
    when nil then V1::Value.new(null_value: :NULL_VALUE)
    when true, false then V1::Value.new(bool_value: plain)
    when Integer then V1::Value.new(int64_value: plain)
    when Float then V1::Value.new(float64_value: plain)
    when Time then V1::Value.new(timestamp_value: { seconds: plain.to_i, nanos: plain.nsec })
    when String
      plain.encoding == Encoding::BINARY ? V1::Value.new(bytes_value: plain) : V1::Value.new(text_value: plain)
    else V1::Value.new(text_value: plain.to_s) # the database parses the text of any type
    end
  end

  # The rows of anything that has rows: a result, a batch of a stream.
  def rows(found)
    found.rows.map { |row| row.values.map { |value| plain(value) } }
  end

  # What a value of a result holds.
  def plain(value)
    case value.kind
    when :null_value then nil
    when :timestamp_value then value.timestamp_value.to_time.utc
    when :array_value then value.array_value.elements.map { |element| plain(element) }
    when :record_value then value.record_value.fields.map { |field| plain(field) }
    else value[value.kind.to_s]
    end
  end

  # Turns errors of gRPC into Rowgate::Error.
  def errors
    yield
  rescue GRPC::BadStatus => e
    raise Error.of(e)
  end

  # Does it again where nothing was applied and it may succeed later, as RetryInfo says.
  def retrying(attempts: 3)
    attempt = 1
    begin
      errors { yield }
    rescue Error => e
      raise if e.outcome != 'NOT_APPLIED' || e.retry_delay.nil? || attempt >= attempts

      sleep e.retry_delay * 2**(attempt - 1) * rand(1.0..1.5)
      attempt += 1
      retry
    end
  end

  # An interactive transaction: committed when the block ends, rolled back when it raises.
  def transaction(stub, start: V1::Begin.new, timeout: 30)
    commands = Queue.new
    requests = Enumerator.new do |yielder|
      while (command = commands.pop)
        yielder << command
      end
    end
    call = stub.transact(requests, deadline: Time.now + timeout, return_op: true)
    transaction = Transaction.new(commands, call.execute)
    transaction.ask(begin: start)
    result = yield transaction
    transaction.ask(commit: V1::Commit.new)
    transaction.finish
    result
  ensure
    call&.cancel # without a commit this rolls back at once
    commands&.push(nil)
  end

  # What the block of Rowgate.transaction is given.
  class Transaction
    def initialize(commands, replies)
      @commands = commands
      @replies = replies
      @sequence = 0
    end

    def query(sql, *parameters)
      result = ask(query: V1::TransactQuery.new(sql: sql, parameters: Rowgate.values(*parameters))).result
      found = Rowgate.rows(result.result_set)
      while result.more # a large result comes in parts
        result = reply.result
        found.concat(Rowgate.rows(result.result_set))
      end
      found
    end

    # Undoes what the block did when it raises; the transaction goes on.
    def savepoint(name)
      ask(savepoint: V1::Savepoint.new(name: name))
      begin
        result = yield
      rescue StandardError
        ask(rollback_to: V1::RollbackTo.new(name: name))
        raise
      end
      ask(release: V1::Release.new(name: name))
      result
    end

    def ask(command)
      @sequence += 1
      @commands << V1::TransactRequest.new(sequence: @sequence, **command)
      reply
    end

    # Waits for the end of the stream, which comes with the last reply; the library waits for that of ours, too.
    def finish
      @commands << nil
      Rowgate.errors { @replies.next }
      raise 'a reply after the end'
    rescue StopIteration
      nil
    end

    private

    def reply
      reply = Rowgate.errors { @replies.next } # the status of the stream: the transaction is over
      raise Error.new(reply.error) if reply.reply == :error # a statement failed, the transaction is open

      reply
    end
  end
end
