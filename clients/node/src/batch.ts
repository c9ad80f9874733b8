import { create, toBinary, type MessageInitShape } from '@bufbuild/protobuf';
import type { BinaryWriter } from '@bufbuild/protobuf/wire';
import { ExpectationSchema } from './gen/rowgate/v1/database_pb.js';
import { BATCH_FIELDS, writeStatement } from './messages.js';
import { compiled, type StatementInput } from './sql.js';
import type { Dialect, ParameterWriter } from './values/encode.js';

/** A statement of a batch. */
export type BatchStatement = StatementInput | {
  readonly sql: StatementInput;
  readonly values?: readonly unknown[];
  /** The number of rows that it must change; any other fails the whole batch. */
  readonly expect?: number | { readonly atLeast: number } | { readonly atMost: number };
};

/** Writes the statements of a batch, each in the field with this tag. */
export function writeBatchStatements(
  writer: BinaryWriter,
  tag: number,
  statements: readonly BatchStatement[],
  write: ParameterWriter,
  dialect: Dialect | undefined,
): void {
  for (const each of statements) {
    const { sql: input, values = [], expect } = typeof each === 'object' && 'sql' in each ? each : { sql: each as StatementInput };
    writer.uint32(tag).fork();
    writeStatement(writer, compiled(input, values, dialect), BATCH_FIELDS, write, dialect);
    if (expect !== undefined) writer.uint32(0x1a).bytes(toBinary(ExpectationSchema, create(ExpectationSchema, { rows: expectation(expect) })));
    writer.join();
  }
}

type ExpectationInit = MessageInitShape<typeof ExpectationSchema>['rows'];

function expectation(expect: NonNullable<Exclude<BatchStatement, StatementInput>['expect']>): ExpectationInit {
  if (typeof expect === 'number') return { case: 'exactly', value: BigInt(expect) };
  return 'atLeast' in expect ? { case: 'atLeast', value: BigInt(expect.atLeast) } : { case: 'atMost', value: BigInt(expect.atMost) };
}
