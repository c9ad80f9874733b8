import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { checkedText } from './checks.js';
import { RowgateError } from './errors/error.js';
import { HealthCheckRequestSchema, HealthCheckResponse_ServingStatus as Serving, HealthCheckResponseSchema } from './gen/grpc/health/v1/health_pb.js';
import * as contract from './gen/rowgate/v1/database_pb.js';
import { GetServerInfoRequestSchema, GetServerInfoResponseSchema, type GetServerInfoResponse } from './gen/rowgate/v1/server_pb.js';
import type { Method } from './transport/transport.js';
import { readColumn } from './values/decode.js';
import type { Dialect } from './values/encode.js';
import { dataType, type Column, type DataType } from './values/types.js';
import { WireReader } from './values/wire.js';

// Calls that ask and run no statement.

/** Makes a call with an encoded request. */
export type Ask = (method: Method, request: Uint8Array) => Promise<Uint8Array>;

/** What became of a unit of work. */
export type TransactionState = 'APPLIED' | 'NOT_APPLIED' | 'IN_PROGRESS' | 'UNKNOWN';

/** A statement as the database sees it. */
export interface Description {
  readonly hasColumns: boolean;
  readonly columns: readonly Column[];
  readonly parameterTypes: readonly { readonly type: DataType; readonly elementType: DataType; readonly typeName: string; readonly typeOid: number }[];
  readonly readOnly: boolean;
  readonly plan: string;
}

/** The state of a service. */
export type HealthState = 'SERVING' | 'NOT_SERVING' | 'UNKNOWN';

const STATES: Partial<Record<contract.TransactionState, TransactionState>> = {
  [contract.TransactionState.APPLIED]: 'APPLIED',
  [contract.TransactionState.NOT_APPLIED]: 'NOT_APPLIED',
  [contract.TransactionState.IN_PROGRESS]: 'IN_PROGRESS',
};

export async function outcome(ask: Ask, database: string | undefined, of: { key: string } | { transactionToken: string }): Promise<TransactionState> {
  const handle = 'key' in of
    ? { case: 'idempotencyKey' as const, value: checkedText('key', of.key) }
    : { case: 'transactionToken' as const, value: checkedText('transactionToken', of.transactionToken) };
  const schema = contract.GetTransactionOutcomeRequestSchema;
  const bytes = await ask('GetTransactionOutcome', toBinary(schema, create(schema, { database, handle })));
  return STATES[fromBinary(contract.GetTransactionOutcomeResponseSchema, bytes).state] ?? 'UNKNOWN';
}

export async function describe(ask: Ask, database: string | undefined, sql: string, includePlan: boolean): Promise<Description> {
  const schema = contract.DescribeStatementRequestSchema;
  const bytes = await ask('DescribeStatement', toBinary(schema, create(schema, { database, sql, includePlan })));
  const found = fromBinary(contract.DescribeStatementResponseSchema, bytes);
  return {
    hasColumns: found.hasColumns,
    columns: columnsOf(bytes),
    parameterTypes: found.parameterTypes.map(({ type, elementType, typeName, typeOid }) => (
      { type: dataType(type), elementType: dataType(elementType), typeName, typeOid })),
    readOnly: found.readOnly,
    plan: found.plan,
  };
}

// The columns of a DescribeStatementResponse.
function columnsOf(bytes: Uint8Array): Column[] {
  const reader = new WireReader(bytes);
  const columns: Column[] = [];
  while (reader.position < reader.end) {
    const tag = reader.uint32();
    if (tag === 0x12) {
      const limit = reader.limit();
      columns.push(readColumn(reader, limit));
    } else {
      reader.skip(tag);
    }
  }
  return columns;
}

export async function serverInfo(ask: Ask): Promise<GetServerInfoResponse> {
  const request = toBinary(GetServerInfoRequestSchema, create(GetServerInfoRequestSchema));
  return fromBinary(GetServerInfoResponseSchema, await ask('GetServerInfo', request));
}

export async function dialect(ask: Ask, database: string | undefined): Promise<Dialect> {
  let info: GetServerInfoResponse;
  try {
    info = await serverInfo(ask);
  } catch (error) {
    if (error instanceof RowgateError && error.reason === 'ACCESS_DENIED') {
      error.message += "\nhint: what is to be sent depends on the kind of database: name it, connect(address, { dialect: 'postgres' })";
    }
    throw error;
  }
  const name = database || info.defaultDatabase;
  const backend = info.databases.find((each) => each.name === name)?.backend;
  return backend === 'sqlite' || backend === 'mysql' ? backend : 'postgres';
}

export async function health(ask: Ask, service: string): Promise<HealthState> {
  const request = toBinary(HealthCheckRequestSchema, create(HealthCheckRequestSchema, { service }));
  const { status } = fromBinary(HealthCheckResponseSchema, await ask('Check', request));
  return status === Serving.SERVING ? 'SERVING' : status === Serving.NOT_SERVING ? 'NOT_SERVING' : 'UNKNOWN';
}
