# frozen_string_literal: true

# A tour of Rowgate: the result of each step is a line.

require 'securerandom'
require_relative 'rowgate_client'

V1 = Rowgate::V1
DATABASE = Rowgate.connect(ARGV[0], ca: ENV['ROWGATE_CA'], token: ENV['ROWGATE_TOKEN'])
NUMBERS = 'with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < $1) select n from numbers'

def query(sql, *parameters, timeout: 5)
  request = V1::QueryRequest.new(sql: sql, parameters: Rowgate.values(*parameters))
  Rowgate.errors { Rowgate.rows(DATABASE.query(request, deadline: Time.now + timeout).result) }
end

def cents(owner)
  query('select cents from example_ruby where owner = $1', owner).first.first
end

# All or nothing, and once: with its key it may be sent again whatever became of the first call.
def batch
  change = lambda do |owner, cents|
    V1::BatchStatement.new(sql: 'update example_ruby set cents = cents + $1 where owner = $2 and cents + $1 >= 0',
                           parameters: Rowgate.values(cents, owner), expect: V1::Expectation.new(exactly: 1))
  end
  transfer = V1::ExecuteBatchRequest.new(statements: [change.('ann', -300), change.('bob', 300)],
                                         options: V1::QueryOptions.new(idempotency_key: "transfer-#{SecureRandom.uuid}"))
  first, again = Array.new(2) { Rowgate.errors { DATABASE.execute_batch(transfer) } }
  puts "batch: replayed #{first.replayed}, then #{again.replayed}, ann has #{cents('ann')}"
end

# The first attempt is silent for so long that the server rolls it back; retrying makes another one.
def transaction
  start = V1::Begin.new(transaction: V1::TransactionOptions.new(idle_timeout: { nanos: 100_000_000 }))
  attempts = 0
  Rowgate.retrying do
    Rowgate.transaction(DATABASE, start) do |transaction|
      cents = transaction.query('select cents from example_ruby where owner = $1', 'ann').first.first
      sleep 0.5 if (attempts += 1) == 1
      transaction.query('update example_ruby set cents = $1 where owner = $2', cents / 2, 'ann')
    end
  end
  puts "transaction: #{attempts} attempts, ann has #{cents('ann')}"
end

# A result of any size, in constant memory; it is complete only with its summary.
def stream
  request = V1::QueryRequest.new(sql: NUMBERS, parameters: Rowgate.values(10_000))
  sum = 0
  summary = nil
  Rowgate.errors do
    DATABASE.stream_query(V1::StreamQueryRequest.new(query: request), deadline: Time.now + 30).each do |part|
      sum += Rowgate.rows(part.rows).sum(&:first) if part.rows
      summary ||= part.summary
    end
  end
  abort 'the stream is incomplete' unless summary
  puts "stream: #{summary.row_count} rows, sum #{sum}"
end

# The error that the block fails with.
def failure
  yield
  abort 'it did not fail'
rescue Rowgate::Error => e
  e
end

query('drop table if exists example_ruby')
query('create table example_ruby (id bigint primary key, owner text not null, cents bigint not null)')
query("insert into example_ruby values (1, 'ann', 1000), (2, 'bob', 500)")
owner, cents = query('select owner, cents from example_ruby where owner = $1 and cents >= $2', 'ann', 1000).first
puts "query: #{owner} has #{cents}"
error = failure { query('insert into example_ruby values ($1, $2, $3)', 1, 'ann', 0) }
puts "error: #{error.reason}, #{error.outcome}"
batch
transaction
stream
error = failure { query("select count(*) from (#{NUMBERS}) as endless", 1_000_000_000, timeout: 0.5) } # it ends in the database, too
puts 'deadline: DEADLINE_EXCEEDED' if error.cause.is_a?(GRPC::DeadlineExceeded)
query('drop table example_ruby')
puts 'ok'
