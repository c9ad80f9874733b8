import type { EventEmitter } from 'node:events';
import type { Database } from '../database.js';

/** The channels that a client listens to: LISTEN and UNLISTEN, told by its events. */
export class Listening {
  private readonly channels = new Map<string, AbortController>();

  constructor(private readonly database: Database, private readonly client: EventEmitter) {}

  get isEmpty(): boolean {
    return this.channels.size === 0;
  }

  /** Kept when the database listens. What ends it later is an error of the client, as a lost connection is. */
  listen(channel: string): Promise<void> {
    if (this.channels.has(channel)) return Promise.resolve();
    const controller = new AbortController();
    this.channels.set(channel, controller);
    return new Promise((resolve, reject) => {
      this.follow(channel, controller.signal, resolve).catch((error: Error) => {
        if (this.channels.get(channel) === controller) this.channels.delete(channel);
        if (controller.signal.aborted) return;
        reject(error);
        if (this.client.listenerCount('error') > 0) this.client.emit('error', error);
      });
    });
  }

  /** Ends a channel, or all. */
  unlisten(channel: string | undefined): void {
    for (const [name, controller] of this.channels) {
      if (channel !== undefined && channel !== name) continue;
      controller.abort();
      this.channels.delete(name);
    }
  }

  private async follow(channel: string, signal: AbortSignal, onListening: () => void): Promise<void> {
    for await (const event of this.database.listen(channel, { signal })) {
      if (event.type === 'listening') {
        onListening();
      } else if (event.type === 'gap') {
        const notice = new Error('notifications may be missing: the connection was lost');
        this.client.emit('notice', Object.assign(notice, { channel, since: event.since }));
      } else {
        this.client.emit('notification', { channel: event.channel, payload: event.payload, processId: event.processId, name: 'notification', length: 0 });
      }
    }
  }
}
