# frozen_string_literal: true

# What a step has found.
class Found
  attr_reader :columns, :rows, :members

  def self.of(result, members = {})
    new(result.columns, result.rows.to_a, members.merge('rows_affected' => result.rows_affected, 'command' => result.command))
  end

  def initialize(columns = nil, rows = nil, members = {})
    @columns = columns.to_a
    @rows = rows.to_a
    @members = members
  end

  # A row, as the list writes it.
  def row(index)
    rows[index].values.zip(columns).map { |value, column| Values.found(value, column.type, column.element_type) }
  end

  def row?(expected, index)
    return false unless rows[index] && rows[index].values.size == expected.size

    expected.zip(row(index)).all? { |one, found| Values.same?(one, found) }
  end
end

# Expectations, compared with what was found.
module Expectations
  module_function

  def compare(expect, found)
    raise "it did not fail with #{expect['error']}" if expect['error']

    expect.each do |member, wanted|
      if member == 'results'
        results = found.members['results']
        raise "#{results.size} results" unless results.size == wanted.size

        wanted.zip(results).each { |one, result| compare(one, result) }
      elsif !as_wanted?(member, wanted, found)
        shown = member.include?('row') && found.columns.any? ? found.rows.first(5).each_index.map { |i| found.row(i) } : [found.members, described(found.columns)]
        raise "#{member}: wanted #{wanted}, found #{found.rows.size} rows, #{shown}"
      end
    end
  end

  def as_wanted?(member, wanted, found)
    case member
    when 'rows' then wanted.size == found.rows.size && wanted.each_with_index.all? { |row, i| found.row?(row, i) }
    when 'first_row' then found.row?(wanted, 0)
    when 'last_row' then found.row?(wanted, found.rows.size - 1)
    when 'row_count' then wanted == found.members.fetch('row_count', found.rows.size)
    when 'columns' then columns?(wanted, described(found.columns))
    when 'parameter_types' then columns?(wanted, found.members[member])
    else found.members[member] == wanted
    end
  end

  def columns?(wanted, found)
    wanted.size == found.size && wanted.zip(found).all? { |one, column| column.merge(one) == column }
  end

  def described(columns)
    columns.map do |column|
      { 'name' => column.name, 'type' => type(column.type), 'element_type' => type(column.element_type), 'type_name' => column.type_name }
    end
  end

  def type(name)
    name.to_s.delete_prefix('DATA_TYPE_')
  end

  def compare_error(wanted, error)
    raise "it failed: #{error.message}" unless wanted

    has = has(error)
    wanted.each do |member, one|
      right = case member
              when 'without' then ![error.message, database(error).inspect].join.include?(one)
              when 'fields' then one == detail(error, Google::Rpc::BadRequest)&.field_violations.to_a.map(&:field)
              else [one].flatten.include?(has[member])
              end
      raise "#{member}: wanted #{one}, found #{has} #{error.message}" unless right
    end
  end

  def detail(error, type)
    error.status.details.filter_map { |detail| detail.unpack(type) }.first
  end

  def database(error)
    detail(error, Rowgate::V1::DatabaseError) || Rowgate::V1::DatabaseError.new
  end

  def code(error)
    GRPC::Core::StatusCodes.constants.find { |name| GRPC::Core::StatusCodes.const_get(name) == error.status.code }
  end

  def has(error)
    database = database(error)
    texts = %w[sqlstate constraint schema table column position line].to_h { |name| [name, database[name]] }
    statement = database.has_failed_statement? ? database.failed_statement : nil
    texts.merge('code' => code(error).to_s, 'reason' => error.reason, 'outcome' => error.outcome,
                'failed_statement' => statement, 'retryable' => !error.retry_delay.nil?)
  end
end
