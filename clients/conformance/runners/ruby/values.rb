# frozen_string_literal: true

require 'json'
require 'time'

# Values of the list: as parameters, and compared with those of results.
module Values
  V1 = Rowgate::V1
  TEXT_FORMS = %w[NUMERIC UUID JSON DATE TIME TIMETZ TIMESTAMP TIMESTAMPTZ INTERVAL ENUM RANGE].to_h do |name|
    [:"DATA_TYPE_#{name}", name.downcase]
  end
  INTEGERS = %i[DATA_TYPE_INT16 DATA_TYPE_INT32 DATA_TYPE_INT64].freeze
  SIXTY_FOUR_BITS = (-2**63..2**63 - 1).freeze

  module_function

  # The form of a value, and what it holds.
  def form_of(value)
    case value
    when nil then ['null', nil]
    when true, false then ['bool', value]
    when Integer then ['int', value.to_s]
    when String then ['text', value]
    when Hash
      repeated = value['text_repeated']
      repeated ? ['text', repeated[0] * repeated[1]] : value.first
    end
  end

  def parameters(list)
    (list || []).map { |one| parameter(one) }
  end

  # A value made by Rowgate.values, the client's own, as far as it goes.
  def parameter(value)
    form, content = form_of(value)
    case form
    when 'int'
      number = Integer(content)
      own(SIXTY_FOUR_BITS.cover?(number) ? number : content)
    when 'float' then own(float(content))
    when 'bytes' then own([content].pack('H*'))
    when 'timestamptz' then own(content.end_with?('Z') ? Time.iso8601(content) : content)
    when 'array' then V1::Value.new(array_value: array(value))
    when 'record' then V1::Value.new(record_value: V1::RecordValue.new(fields: parameters(content)))
    when 'reference' then V1::Value.new(result_reference: V1::ResultReference.new(**content.transform_keys(&:to_sym)))
    else own(content)
    end
  end

  def own(plain)
    Rowgate.values(plain).first
  end

  def array(value)
    dimensions = []
    level = value
    while level.is_a?(Hash) && level.key?('array')
      dimensions << level['array'].size
      level = level['array'].first
    end
    bounds = value['lower_bounds'] || []
    dimensions = [] if dimensions.size == 1 && bounds.empty?
    V1::ArrayValue.new(elements: flat(value), dimensions: dimensions, lower_bounds: bounds)
  end

  def flat(value)
    return [parameter(value)] unless value.is_a?(Hash) && value.key?('array')

    value['array'].flat_map { |inner| flat(inner) }
  end

  def float(text)
    { 'NaN' => Float::NAN, 'Infinity' => Float::INFINITY, '-Infinity' => -Float::INFINITY }[text] || Float(text)
  end

  # A value of a result, as the list writes it.
  def found(value, type, element = nil)
    content = value[value.kind.to_s]
    case value.kind
    when :null_value then nil
    when :bool_value then content
    when :int64_value then { 'int' => content.to_s }
    when :float64_value then { 'float' => content.to_s }
    when :bytes_value then { 'bytes' => content.unpack1('H*') }
    when :timestamp_value then { 'timestamptz' => Time.at(content.seconds, content.nanos, :nsec).utc.iso8601(9) }
    when :text_value then { form_of_text(content, type) => content }
    when :record_value then { 'record' => content.fields.map { |field| found(field, :DATA_TYPE_TEXT) } }
    when :array_value then found_array(content, element)
    end
  end

  def form_of_text(text, type)
    return 'int' if INTEGERS.include?(type) && text.match?(/\A-?[0-9]+\z/)

    TEXT_FORMS.fetch(type, 'text')
  end

  def found_array(array, element)
    level = array.elements.map { |one| found(one, element) }
    array.dimensions.to_a.drop(1).reverse_each { |length| level = level.each_slice(length).map { |inner| { 'array' => inner } } }
    bounds = array.lower_bounds.to_a
    bounds.all?(1) ? { 'array' => level } : { 'array' => level, 'lower_bounds' => bounds }
  end

  # True if two values of the list are equal by the rules of their form.
  def same?(expected, found)
    form, left = form_of(expected)
    found_form, right = form_of(found)
    return false unless form == found_form

    case form
    when 'float' then [float(left), float(right)].map { |one| one.nan? ? 'NaN' : [one].pack('G') }.uniq.size == 1
    when 'json' then document(left) == document(right)
    when 'time', 'timetz', 'timestamp', 'timestamptz' then short(left) == short(right)
    when 'array', 'record'
      left.size == right.size && left.zip(right).all? { |one, other| same?(one, other) } &&
        (!expected.is_a?(Hash) || expected['lower_bounds'] == found['lower_bounds'])
    else left == right
    end
  end

  # A time without zeros at the end of its fraction.
  def short(time)
    time.sub(/\.(\d*?)0*(?=\D|\z)/) { $1.empty? ? '' : ".#{$1}" }
  end

  # A document with numbers of any size.
  def document(text)
    JSON.parse("[#{text}]", decimal_class: BigDecimal).first.then { |parsed| exact(parsed) }
  end

  def exact(parsed)
    case parsed
    when Hash then parsed.transform_values { |one| exact(one) }
    when Array then parsed.map { |one| exact(one) }
    when Numeric then { number: BigDecimal(parsed.to_s) }
    else parsed
    end
  end
end
