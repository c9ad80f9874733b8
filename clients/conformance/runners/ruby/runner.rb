# frozen_string_literal: true

# Runs the conformance list for clients by the stubs and the client of examples/ruby. See ../../README.md.

require 'bigdecimal'
require 'rowgate_client'
require 'securerandom'
require_relative 'expectations'
require_relative 'steps'
require_relative 'values'

# The list, for one backend.
class List
  FEATURES = %w[abandon cancel copy describe half_close lower_bounds records].freeze

  def initialize(backend, parts)
    @backend = backend
    @parts = parts
    @run = SecureRandom.hex(8)
    @counts = Hash.new(0)
  end

  def run(stub)
    Dir[File.expand_path('../../cases/*.json', __dir__)].sort.each do |file|
      JSON.parse(File.read(file))['cases'].each do |one|
        name = "#{File.basename(file, '.json')}/#{one['name']}"
        run_case(stub, name, one) if @parts.empty? || @parts.any? { |part| name.include?(part) }
      end
    end
    puts "#{@counts[:passed]} passed, #{@counts[:failed]} failed, #{@counts[:skipped]} skipped"
    @counts[:failed].zero? && @counts[:passed].positive?
  end

  private

  def run_case(stub, name, one)
    lack = one.fetch('not_on', {})[@backend] || (one.fetch('requires', []) - FEATURES).map { |f| "the client has no #{f}" }.first
    if lack
      puts "SKIPPED: #{name}: #{lack}"
      return @counts[:skipped] += 1
    end
    Steps.new(stub).run(prepared(one))
    @counts[:passed] += 1
  rescue StandardError => e
    puts "FAILED: #{name}: #{e.message[0, 1500]}"
    @counts[:failed] += 1
  end

  # Puts what the backend has in the place of each per_backend, and the run in that of ${run}.
  def prepared(value)
    case value
    when String then value.gsub('${run}', @run)
    when Array then value.map { |one| prepared(one) }
    when Hash
      return prepared(value['per_backend'].fetch(@backend) { value['per_backend'].fetch('default') }) if value.keys == ['per_backend']

      value.transform_values { |one| prepared(one) }
    else value
    end
  end
end

$stdout.sync = true
stub = Rowgate.connect(ENV.fetch('ROWGATE_ADDRESS'), timeout: 30)
exit List.new(ENV.fetch('ROWGATE_BACKEND'), ARGV).run(stub)
