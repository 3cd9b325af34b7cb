import { Logger } from '@nestjs/common';
import { createClient, type RedisClientType } from '@redis/client';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { RedisConnection } from '../../src/platform/redis/redis-connection';

/** Longer than any spec may take: who gives up sooner does so for another reason than the time. */
export const FOR_EVER_MS = 3_600_000;

/** A connection as the application would have it. */
export async function connectTo(url: string | undefined): Promise<RedisConnection> {
  const connection = new RedisConnection({ url }, { keyPrefix: 'mine' });
  await connection.onModuleInit();
  return connection;
}

/** Lines that are logged while a spec runs, at the given level. */
export function captureLog(level: 'warn' | 'log' | 'error'): string[] {
  const lines: string[] = [];
  jest.spyOn(Logger.prototype, level).mockImplementation((...parts: unknown[]) => {
    lines.push(String(parts[0]));
  });
  return lines;
}

/** A plain client beside the connection under test, to look and publish with. */
export async function openClient(url: string, password?: string): Promise<RedisClientType> {
  const client: RedisClientType = createClient({ url, password });
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

/** A way to Redis as through a firewall that forgets connections: they stay, and nothing passes on them any more. */
export interface ForgetfulWay {
  url: string;
  /** Forgets the connections there are and the next `more` ones. Later ones work. */
  forget(more?: number): void;
  /** Connections there are and have been. */
  readonly taken: number;
  close(): void;
}

export async function openForgetfulWay(url: string): Promise<ForgetfulWay> {
  const target = new URL(url);
  const sockets = new Set<Socket>();
  let taken = 0;
  let forgottenUpTo = 0;
  const server = createServer((near) => {
    taken += 1;
    const far = connect(Number(target.port), target.hostname);
    if (taken > forgottenUpTo) near.pipe(far).pipe(near);
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(one);
      one.on('error', () => other.destroy());
      one.on('close', () => {
        sockets.delete(one);
        other.destroy();
      });
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `redis://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get taken() {
      return taken;
    },
    forget: (more = 0) => {
      forgottenUpTo = taken + more;
      for (const socket of sockets) socket.unpipe();
    },
    close: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}
