import { spawn } from 'node:child_process';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { resolve } from 'node:path';

const ROOT = resolve(__dirname, '..', '..');
/** Of a connection and a length, which Node makes anew. */
const CONNECTION_HEADERS = [
  'host',
  'connection',
  'keep-alive',
  'transfer-encoding',
  'content-length',
  'trailer',
];
const PROGRAM = resolve(ROOT, 'scripts/load/main.mjs');

export interface LoadResult {
  code: number | null;
  output: string;
}

/** The load generator, as it runs: its output so far, its end, and a signal to it. */
export class LoadProgram {
  output = '';
  readonly ended: Promise<LoadResult>;
  readonly interrupt: () => void;

  constructor(parameters: string[], token: string | undefined) {
    const environment = token === undefined ? {} : { AUDIT_TOKEN: token };
    const child = spawn(process.execPath, [PROGRAM, ...parameters], {
      cwd: ROOT,
      env: { PATH: process.env.PATH, ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8');
      stream.on('data', (text: string) => (this.output += text));
    }
    this.ended = new Promise((done) =>
      child.once('close', (code) => done({ code, output: this.output })),
    );
    this.interrupt = () => child.kill('SIGINT');
  }
}

/** What a proxy answers in place of the service's own answer. */
export interface ProxiedAnswer {
  status: number;
  headers: Record<string, string>;
  text: string;
}

/** Changes answers: gets the request and the answer, which it may change. */
export type Patch = (request: IncomingMessage, answer: ProxiedAnswer) => void | Promise<void>;

/** A server in front of the service that patches its answers. */
export async function startPatched(serviceUrl: string, patch: Patch) {
  const respond = async (request: IncomingMessage, response: ServerResponse) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const headers = new Headers(request.headers as Record<string, string>);
    for (const name of CONNECTION_HEADERS) headers.delete(name);
    const answer = await fetch(`${serviceUrl}${request.url}`, {
      method: request.method,
      headers,
      body: chunks.length === 0 ? undefined : Buffer.concat(chunks),
    });
    const text = await answer.text();
    const kept = [...answer.headers].filter(([name]) => !CONNECTION_HEADERS.includes(name));
    const patched = { status: answer.status, headers: Object.fromEntries(kept), text };
    await patch(request, patched);
    response.writeHead(patched.status, {
      ...patched.headers,
      ...(request.url?.includes('/stream') ? { Trailer: 'X-Export-Rows' } : {}),
    });
    // `fetch` hides the real ones.
    response.addTrailers({
      'X-Export-Rows': String(text.split('\n').length - 1),
      'X-Export-Complete': 'true',
    });
    response.end(patched.text);
  };
  const server = createServer((request, response) => {
    respond(request, response).catch(() => response.destroy());
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  const stop = () =>
    new Promise<void>((done) => {
      server.close(() => done());
      server.closeAllConnections();
    });
  return { url: `http://127.0.0.1:${port}`, stop };
}
