# frozen_string_literal: true

# A tour of Rowgate: each step prints one line, and the first that is not as it should be ends the program.
#
# Usage: example.rb [ADDRESS]

require 'securerandom'
require_relative 'rowgate_client'

TABLE = 'example_ruby'
INSERT = "insert into #{TABLE} (id, owner, cents) values ($1, $2, $3)"
V1 = Rowgate::V1

address = ARGV[0] || ENV['ROWGATE_ADDRESS'] || '127.0.0.1:50051'
channel = Rowgate.connect(address, ca: ENV['ROWGATE_CA'], token: ENV['ROWGATE_TOKEN'])
DATABASE = Rowgate.stub(V1::DatabaseService, channel)
HEALTH = Rowgate.stub(Grpc::Health::V1::Health, channel)

def show(step, got, wanted)
  abort "#{step}: got #{got}, wanted #{wanted}" unless got == wanted
  puts "#{step}: #{got}"
end

def query(sql, *parameters)
  request = V1::QueryRequest.new(sql: sql, parameters: Rowgate.values(*parameters))
  Rowgate.errors { Rowgate.rows(DATABASE.query(request, deadline: Time.now + 2).result) }
end

def statement(sql, *parameters, **rest)
  V1::BatchStatement.new(sql: sql, parameters: Rowgate.values(*parameters), **rest)
end

def balances
  query("select owner, cents from #{TABLE} order by id").map { |row| row.join(' ') }.join(', ')
end

# The error that the block fails with.
def failure(&block)
  Rowgate.errors(&block)
  abort 'it did not fail'
rescue Rowgate::Error => e
  e
end

def show_health
  request = Grpc::Health::V1::HealthCheckRequest.new(service: 'rowgate.v1.DatabaseService')
  show('health', HEALTH.check(request).status.to_s, 'SERVING')
end

# A table is created outside of batches and transactions: MySQL and MariaDB would commit them.
def make_table
  query("drop table if exists #{TABLE}")
  query("create table #{TABLE} (id bigint primary key, owner text not null, cents bigint not null)")
  statements = [
    statement(INSERT, 1, 'ann', 1000),
    statement(INSERT, 2, 'bob', 500)
  ]
  DATABASE.execute_batch(V1::ExecuteBatchRequest.new(statements: statements))
end

def show_query
  owner, cents = query("select owner, cents from #{TABLE} where owner = $1 and cents >= $2", 'ann', 1000).first
  show('query', "#{owner} has #{cents}", 'ann has 1000')
end

# A result of any size, in constant memory; it is complete only with its summary.
def show_stream
  numbers = 'with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < $1) ' \
            'select n from numbers'
  request = V1::QueryRequest.new(sql: numbers, parameters: Rowgate.values(10_000))
  sum = 0
  summary = nil
  DATABASE.stream_query(V1::StreamQueryRequest.new(query: request), deadline: Time.now + 30).each do |part|
    case part.part
    when :rows then sum += Rowgate.rows(part.rows).sum { |(number)| number }
    when :summary then summary = part.summary
    end
  end
  abort 'the stream is incomplete' unless summary
  show('stream', "#{summary.row_count} rows, sum #{sum}", '10000 rows, sum 50005000')
end

# All or nothing, and once: with the key it may be sent again whatever became of the first call.
def show_batch
  take = "update #{TABLE} set cents = cents - $1 where id = $2 and cents >= $1"
  give = "update #{TABLE} set cents = cents + $1 where id = $2"
  one = V1::Expectation.new(exactly: 1)
  transfer = V1::ExecuteBatchRequest.new(
    statements: [statement(take, 300, 1, expect: one), statement(give, 300, 2, expect: one)],
    options: V1::QueryOptions.new(idempotency_key: "transfer-#{SecureRandom.uuid}")
  )
  first = DATABASE.execute_batch(transfer)
  again = DATABASE.execute_batch(transfer)
  show('batch', "replayed #{first.replayed}, then #{again.replayed}, #{balances}",
       'replayed false, then true, ann 700, bob 800')
end

def show_transaction
  undone = nil
  Rowgate.transaction(DATABASE) do |transaction|
    cents, = transaction.query("select cents from #{TABLE} where id = $1", 1).first
    transaction.query("update #{TABLE} set cents = $1 where id = $2", cents / 2, 1)
    undone = failure { transaction.savepoint('before_insert') { transaction.query(INSERT, 2, 'bob', 0) } }
  end
  show('transaction', "#{undone.reason} undone, #{balances}", 'UNIQUE_VIOLATION undone, ann 350, bob 800')
end

def show_error
  error = failure { query(INSERT, 1, 'ann', 0) }
  show('error', "#{error.code} #{error.reason} #{error.outcome}", 'ALREADY_EXISTS UNIQUE_VIOLATION NOT_APPLIED')
end

# The server rolls back a transaction that is silent for too long; RetryInfo says when to begin again.
def show_retry
  options = V1::TransactionOptions.new(idle_timeout: { nanos: 100_000_000 })
  failures = []
  Rowgate.retrying do
    Rowgate.transaction(DATABASE, start: V1::Begin.new(transaction: options)) do |transaction|
      sleep 0.5 if failures.empty?
      transaction.query("update #{TABLE} set cents = cents + 1 where id = $1", 1)
    end
  rescue Rowgate::Error => e
    failures << "#{e.reason} #{e.outcome}"
    raise
  end
  show('retry', "#{failures.join(', ')}, #{balances}", 'IDLE_IN_TRANSACTION_TIMEOUT NOT_APPLIED, ann 351, bob 800')
end

# The statement ends in the database, too, and the answer says so just before the deadline.
def show_deadline
  endless = 'with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < 1000000000) ' \
            'select count(*) from numbers'
  error = failure { DATABASE.query(V1::QueryRequest.new(sql: endless), deadline: Time.now + 0.5) }
  show('deadline', error.code.to_s, 'DEADLINE_EXCEEDED')
end

begin
  Rowgate.errors do
    show_health
    make_table
    show_query
    show_stream
    show_batch
    show_transaction
    show_error
    show_retry
    show_deadline
    query("drop table #{TABLE}")
  end
rescue Rowgate::Error => e
  abort "#{e.code} #{e.reason}: #{e.message} (#{e.outcome})"
end
puts 'ok'
