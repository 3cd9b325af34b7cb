import { Agent, request } from 'node:http';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import type { ServiceProcess } from '../integration/service.fixture';
import { ServiceStage } from './service-stage.fixture';

const NO_ANSWER_MS = 20_000;

/** Two processes of the service on one database and one Redis. */
export interface ReplicaSet {
  urls: readonly string[];
  /** Lines in which one of them tells of something that nobody handled; none, if all is well. */
  unhandled(): string[];
  stop(): Promise<void>;
}

/** Builds the service and starts it twice, the second time with these settings beside or in place of the first ones. */
export async function startReplicaSet(
  redisUrl: string,
  second: Record<string, string> = {},
): Promise<ReplicaSet> {
  const stage = await ServiceStage.open();
  try {
    const running: ServiceProcess[] = [];
    for (const settings of [{}, second])
      running.push(await stage.start({ REDIS_URL: redisUrl, ...settings }));
    return {
      urls: running.map(({ url }) => url),
      unhandled: () => running.flatMap((service) => service.unhandled()),
      stop: () => stage.close(),
    };
  } catch (error) {
    await stage.close();
    throw error;
  }
}

export interface Sending {
  token: string;
  headers?: Record<string, string>;
  /** Sent as JSON. */
  body?: unknown;
}

/** An answer as it came. */
export interface Reply {
  status: number;
  headers: Record<string, string>;
  bytes: Buffer;
  /** The bytes without their coding. */
  text: string;
  /** From sending the request to the last byte. */
  tookMs: number;
}

/** Sends requests over connections that are kept, and decodes nothing on the way. */
export class Sender {
  private readonly agent = new Agent({ keepAlive: true });

  /** @throws Error when there is no whole answer. */
  send(method: string, url: string, { token, headers, body }: Sending): Promise<Reply> {
    const startMs = performance.now();
    const payload = body === undefined ? undefined : JSON.stringify(body);
    return new Promise((resolve, reject) => {
      const sent = request(url, {
        method,
        agent: this.agent,
        timeout: NO_ANSWER_MS,
        headers: {
          authorization: `Bearer ${token}`,
          ...(payload === undefined ? {} : { 'content-type': 'application/json' }),
          ...headers,
        },
      });
      sent.on('timeout', () => sent.destroy(new Error(`No answer to ${method} ${url}`)));
      sent.on('error', reject);
      sent.on('response', (response) => {
        const parts: Buffer[] = [];
        response.on('data', (part: Buffer) => parts.push(part));
        response.on('error', reject);
        response.on('end', () => {
          const bytes = Buffer.concat(parts);
          const received = response.headers as Record<string, string>;
          resolve({
            status: response.statusCode ?? 0,
            headers: received,
            bytes,
            text: decoded(bytes, received['content-encoding']),
            tookMs: performance.now() - startMs,
          });
        });
      });
      sent.end(payload);
    });
  }

  close(): void {
    this.agent.destroy();
  }
}

function decoded(bytes: Buffer, coding: string | undefined): string {
  if (bytes.length === 0) return '';
  if (coding === 'gzip') return gunzipSync(bytes).toString();
  return (coding === 'br' ? brotliDecompressSync(bytes) : bytes).toString();
}
