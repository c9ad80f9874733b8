# frozen_string_literal: true

# The steps of a case, each as one call or one command of a transaction.
class Steps
  V1 = Rowgate::V1

  def initialize(stub)
    @stub = stub
    @open = {}
  end

  def run(one)
    one.fetch('setup', []).each { |sql| query('sql' => sql) }
    one['steps'].each_with_index do |step, i|
      start = Process.clock_gettime(Process::CLOCK_MONOTONIC)
      step.fetch('times', 1).times { step(step) }
      took = (Process.clock_gettime(Process::CLOCK_MONOTONIC) - start) * 1000
      raise "it took #{took.round} ms" if took > step.fetch('within_ms', 60_000)
    rescue StandardError => e
      raise "step #{i}: #{e.message}"
    end
  ensure
    @open.each_value { |transaction| transaction[:call].cancel }
  end

  private

  def step(step)
    return send(step['do'], step) if %w[echo cancel pause abandon].include?(step['do'])

    begin
      found = Rowgate.errors { send(step['do'], step) }
    rescue Rowgate::Error => e
      return Expectations.compare_error(step.dig('expect', 'error'), e)
    end
    Expectations.compare(step.fetch('expect', {}), found)
  end

  def deadline(options)
    Time.now + (options || {}).fetch('deadline_ms', 30_000) / 1000.0
  end

  def seconds(milliseconds)
    milliseconds && Google::Protobuf::Duration.new(seconds: milliseconds / 1000, nanos: milliseconds % 1000 * 1_000_000)
  end

  def settings(named)
    (named || {}).map { |name, value| V1::Setting.new(name: name, value: value) }
  end

  def access(read_only)
    read_only ? :ACCESS_MODE_READ_ONLY : :ACCESS_MODE_UNSPECIFIED
  end

  def options(given)
    given && V1::QueryOptions.new(
      timeout: seconds(given['timeout_ms']), max_rows: given['max_rows'].to_i, max_bytes: given['max_bytes'].to_i,
      access_mode: access(given['read_only']), tag: given['tag'].to_s, idempotent: !!given['idempotent'],
      idempotency_key: given['key'].to_s, settings: settings(given['settings'])
    )
  end

  def mode(given)
    given && V1::TransactionOptions.new(
      isolation_level: :"ISOLATION_LEVEL_#{given.fetch('isolation', 'unspecified').upcase}", access_mode: access(given['read_only']),
      deferrable: !!given['deferrable'], idle_timeout: seconds(given['idle_timeout_ms']), max_duration: seconds(given['max_duration_ms'])
    )
  end

  def request(step)
    V1::QueryRequest.new(
      database: step.dig('options', 'database').to_s, sql: step['sql'], parameters: Values.parameters(step['parameters']),
      options: options(step['options'])
    )
  end

  def query(step)
    return query_in(step) if step['in']

    answer = @stub.query(request(step), deadline: deadline(step['options']))
    Found.of(answer.result, 'replayed' => answer.replayed)
  end

  def query_in(step)
    query = V1::TransactQuery.new(sql: step['sql'], parameters: Values.parameters(step['parameters']), options: options(step['options']))
    transaction = transaction(step)
    result = transaction.ask(query: query).result
    whole = result.result_set
    rows = whole.rows.to_a
    while result.more
      result = transaction.next_reply.result
      rows.concat(result.result_set.rows.to_a)
    end
    Found.new(whole.columns, rows, 'rows_affected' => result.result_set.rows_affected, 'command' => result.result_set.command)
  end

  def stream(step)
    call = @stub.stream_query(V1::StreamQueryRequest.new(query: request(step)), deadline: deadline(step['options']), return_op: true)
    columns = nil
    rows = []
    summary = nil
    call.execute.each do |part|
      columns = part.header.columns if part.header
      rows.concat(part.rows.rows.to_a) if part.rows
      summary = part.summary if part.summary
      break if rows.size >= step.fetch('read', Float::INFINITY)
    end
    return Found.new(columns, rows.first(step['read']), {}) if step['read'] && rows.size >= step['read']
    raise 'the stream is incomplete' unless summary&.row_count == rows.size

    Found.new(columns, rows, 'rows_affected' => summary.rows_affected, 'command' => summary.command)
  ensure
    call&.cancel
  end

  def echo(step)
    step['values'].each do |value|
      expect = { 'rows' => [[value]] }
      expect['columns'] = [{ 'type' => step['type'] }] if step['type']
      found = Rowgate.errors { query('sql' => step['sql'], 'parameters' => [value]) }
      Expectations.compare(expect, found)
    rescue StandardError => e
      raise "#{value}: #{e.message}"
    end
  end

  def statements(step)
    step['statements'].flat_map do |one|
      expect = one['expect_rows'] && V1::Expectation.new(**one['expect_rows'].transform_keys(&:to_sym))
      statement = V1::BatchStatement.new(sql: one['sql'], parameters: Values.parameters(one['parameters']), expect: expect)
      [statement] * one.fetch('times', 1)
    end
  end

  def batch_in(step)
    batch = V1::TransactBatch.new(statements: statements(step), options: options(step['options']))
    results = transaction(step).ask(batch: batch).batch_result.results
    Found.new(nil, nil, 'results' => results.map { |result| Found.of(result) })
  end

  def batch(step)
    return batch_in(step) if step['in']

    batch = V1::ExecuteBatchRequest.new(
      database: step.dig('options', 'database').to_s, statements: statements(step), transaction: mode(step['transaction']),
      options: options(step['options']), dry_run: !!step['dry_run']
    )
    answer = @stub.execute_batch(batch, deadline: deadline(step['options']))
    Found.new(nil, nil, 'replayed' => answer.replayed, 'results' => answer.results.map { |result| Found.of(result) })
  end

  # A transaction as Rowgate.transaction has it, which is a block there.
  def begin(step)
    commands = Queue.new
    requests = Enumerator.new do |yielder|
      while (command = commands.pop)
        yielder << command
      end
    end
    call = @stub.transact(requests, deadline: deadline(nil), return_op: true)
    transaction = Rowgate::Transaction.new(commands, call.execute)
    @open[step['as']] = { call: call, transaction: transaction }
    transaction.ask(
      begin: V1::Begin.new(
        database: step['database'].to_s, transaction: mode(step['transaction']), idempotency_key: step['key'].to_s,
        tag: step['tag'].to_s, settings: settings(step['settings'])
      )
    )
    Found.new
  end

  def transaction(step)
    @open.fetch(step['in'])[:transaction]
  end

  def savepoint(step)
    transaction(step).ask(savepoint: V1::Savepoint.new(name: step['name']))
    Found.new
  end

  def rollback_to(step)
    transaction(step).ask(rollback_to: V1::RollbackTo.new(name: step['name']))
    Found.new
  end

  def release(step)
    transaction(step).ask(release: V1::Release.new(name: step['name']))
    Found.new
  end

  def commit(step)
    transaction(step).ask(commit: V1::Commit.new)
    close(step)
  end

  def rollback(step)
    transaction(step).ask(rollback: V1::Rollback.new)
    close(step)
  end

  def close(step)
    transaction(step).finish
    Found.new
  end

  def abandon(step)
    @open.fetch(step['in'])[:call].cancel
  end

  def outcome(step)
    request = V1::GetTransactionOutcomeRequest.new(database: step['database'].to_s, idempotency_key: step['key'])
    Found.new(nil, nil, 'state' => @stub.get_transaction_outcome(request).state.to_s.delete_prefix('TRANSACTION_STATE_'))
  end

  def describe(step)
    answer = @stub.describe_statement(V1::DescribeStatementRequest.new(sql: step['sql']))
    types = Expectations.described(answer.parameter_types.map { |one| V1::Column.new(type: one.type, element_type: one.element_type, type_name: one.type_name) })
    Found.new(answer.columns, nil, 'read_only' => answer.read_only, 'parameter_types' => types)
  end

  def cancel(step)
    call = @stub.query(request(step), deadline: deadline(nil), return_op: true)
    timer = Thread.new { sleep step['after_ms'] / 1000.0; call.cancel }
    call.execute
    raise 'it ended by itself'
  rescue GRPC::Cancelled
    timer.join
  end

  def pause(step)
    sleep step['ms'] / 1000.0
  end

  def text_options(step)
    form = { header: !!step['header'], delimiter: step['delimiter'].to_s }
    form[:null_text] = step['null_text'] if step['null_text']
    step['format'] == 'rows' ? nil : V1::CopyTextOptions.new(**form)
  end

  def copy_in(step)
    start = V1::CopyInStart.new(
      table: step['table'], columns: step.fetch('columns', []), format: :"COPY_FORMAT_#{step['format'].upcase}",
      text: text_options(step), options: options(step['options'])
    )
    parts = [V1::CopyInRequest.new(start: start)]
    rows = step.fetch('rows', []).map { |row| V1::Row.new(values: Values.parameters(row)) }
    parts << V1::CopyInRequest.new(rows: V1::RowBatch.new(rows: rows)) unless rows.empty?
    parts << V1::CopyInRequest.new(data: step['data'].b) unless step['data'].to_s.empty?
    parts << V1::CopyInRequest.new(end: V1::CopyInEnd.new)
    answer = @stub.copy_in(parts, deadline: deadline(step['options']))
    Found.new(nil, nil, 'rows_affected' => answer.rows_affected, 'replayed' => answer.replayed)
  end

  def copy_out(step)
    request = V1::CopyOutRequest.new(
      table: step['table'].to_s, columns: step.fetch('columns', []), sql: step['sql'].to_s,
      parameters: Values.parameters(step['parameters']), format: :"COPY_FORMAT_#{step['format'].upcase}", text: text_options(step),
      options: options(step['options'])
    )
    columns = nil
    rows = []
    data = +''.b
    summary = nil
    @stub.copy_out(request, deadline: deadline(step['options'])).each do |part|
      columns = part.header.columns if part.header
      rows.concat(part.rows.rows.to_a) if part.rows
      data << part.data if part.part == :data
      summary = part.summary if part.summary
    end
    Found.new(columns, rows, 'data' => data.force_encoding('UTF-8'), 'row_count' => summary.row_count)
  end
end
