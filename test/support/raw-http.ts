import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import type { Answer } from './test-service';

const TIMEOUT_MS = 10_000;

/**
 * Writes these bytes to a port of 127.0.0.1 and reads until the other side closes: for requests that no client would
 * send. The last of them must ask for `Connection: close` or be one that is refused.
 */
export async function sendRaw(port: number, ...parts: (string | Uint8Array)[]): Promise<Answer[]> {
  const socket = connect(port, '127.0.0.1');
  socket.setTimeout(TIMEOUT_MS, () => socket.destroy());
  const received: Buffer[] = [];
  socket.on('data', (bytes) => received.push(bytes));
  socket.on('error', () => undefined); // a reset after the answer is no matter
  for (const part of parts) socket.write(part);
  await once(socket, 'close');
  return answersIn(Buffer.concat(received));
}

/** The answers in what was read from a connection: each with a Content-Length, but the last. */
export function answersIn(bytes: Buffer): Answer[] {
  const answers: Answer[] = [];
  for (let rest = bytes; rest.length > 0;) {
    const end = rest.indexOf('\r\n\r\n');
    if (end === -1) throw new Error(`Not an HTTP answer: ${rest.toString().slice(0, 200)}`);
    const [statusLine = '', ...lines] = rest.subarray(0, end).toString('latin1').split('\r\n');
    const headers = new Headers(
      lines.map((line): [string, string] => {
        const colon = line.indexOf(':');
        return [line.slice(0, colon), line.slice(colon + 1).trim()];
      }),
    );
    const status = Number(statusLine.split(' ')[1]);
    const isInterim = status === 100;
    const whole = isInterim ? 0 : rest.length - end - 4;
    const length = Number(headers.get('content-length') ?? whole);
    const text = rest.subarray(end + 4, end + 4 + length).toString();
    rest = rest.subarray(end + 4 + length);
    if (isInterim) continue;
    answers.push({
      status,
      headers,
      text,
      json: text.startsWith('{') ? JSON.parse(text) : undefined,
    });
  }
  return answers;
}

/** An answer as it came: header names in lower case, in the order in which they stood, and bytes that nobody decoded. */
export interface RawAnswer {
  status: number;
  headers: [string, string][];
  body: Buffer;
}

/** One request on a connection of its own; `fetch` would add headers and inflate the answer. */
export async function rawRequest(
  port: number,
  method: string,
  path: string,
  headers: Record<string, string>,
): Promise<RawAnswer> {
  const request = httpRequest({ host: '127.0.0.1', port, method, path, headers, agent: false });
  request.setTimeout(TIMEOUT_MS, () => request.destroy(new Error('No answer in time')));
  request.end();
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  const parts: Buffer[] = [];
  for await (const part of response) parts.push(part as Buffer);
  const { rawHeaders } = response;
  const pairs = rawHeaders.flatMap((name, index): [string, string][] =>
    index % 2 === 0 ? [[name.toLowerCase(), rawHeaders[index + 1] ?? '']] : [],
  );
  return { status: response.statusCode ?? 0, headers: pairs, body: Buffer.concat(parts) };
}
