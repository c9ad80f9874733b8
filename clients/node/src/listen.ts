import { fromBinary } from '@bufbuild/protobuf';
import { timestampDate } from '@bufbuild/protobuf/wkt';
import { failureOf } from './errors/failure.js';
import { ListenResponseSchema } from './gen/rowgate/v1/database_pb.js';
import type { MessageSource } from './transport/transport.js';

/** An event of a listener. After `listening` and after each `gap` read the state that you watch. */
export type ListenEvent =
  | { readonly type: 'listening' }
  | { readonly type: 'notification'; readonly channel: string; readonly payload: string; readonly processId: number }
  | { readonly type: 'gap'; readonly since: Date };

/** The events of a listener, until the loop is left or the signal is aborted. */
export async function* listenEvents(open: () => Promise<MessageSource>): AsyncGenerator<ListenEvent, void> {
  let source: MessageSource | undefined;
  try {
    source = await open();
    for (let bytes = await source.next(); bytes; bytes = await source.next()) {
      const { event } = fromBinary(ListenResponseSchema, bytes);
      if (event.case === 'listening') yield { type: 'listening' };
      if (event.case === 'gap') yield { type: 'gap', since: event.value.since ? timestampDate(event.value.since) : new Date(0) };
      if (event.case === 'notification') {
        const { channel, payload, processId } = event.value;
        yield { type: 'notification', channel, payload, processId };
      }
    }
  } catch (error) {
    throw failureOf(error, { isHarmless: true });
  } finally {
    source?.cancel();
  }
}
