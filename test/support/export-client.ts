import { request as httpRequest, type ClientRequest, type IncomingMessage } from 'node:http';
import { once } from 'node:events';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { elementTexts, memberTexts } from './json-text';
import { type Askable, EVENTS, type TestService } from './test-service';

/** An answer as it came over the wire. */
export interface WireResponse {
  status: number;
  headers: IncomingMessage['headers'];
  trailers: NodeJS.Dict<string>;
  /** As it was sent: not decompressed. */
  body: Buffer;
  /** Whether the answer ended as HTTP says it must. */
  isWhole: boolean;
}

/** Asks for an export; resolves with the open answer. */
export async function openExport(
  service: Pick<TestService, 'url'>,
  token: string,
  query: Record<string, string> | string,
  headers: Record<string, string> = {},
): Promise<{ request: ClientRequest; response: IncomingMessage }> {
  const text = typeof query === 'string' ? query : new URLSearchParams(query).toString();
  const request = httpRequest(`${service.url}${EVENTS}/stream?${text}`, {
    headers: { authorization: `Bearer ${token}`, ...headers },
    agent: false,
  });
  request.on('error', () => undefined); // a cut is told by the answer
  request.end();
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  return { request, response };
}

/** Reads an answer to its end, whichever it is. */
export async function readAnswer(response: IncomingMessage): Promise<WireResponse> {
  const parts: Buffer[] = [];
  let isWhole = true;
  try {
    for await (const part of response) parts.push(part as Buffer);
  } catch {
    isWhole = false;
  }
  const { statusCode = 0, headers, trailers } = response;
  return {
    status: statusCode,
    headers,
    trailers,
    body: Buffer.concat(parts),
    isWhole: isWhole && response.complete,
  };
}

/** An export from its first byte to its last. */
export async function fetchExport(
  ...asked: Parameters<typeof openExport>
): Promise<WireResponse & { text: string }> {
  const answer = await readAnswer((await openExport(...asked)).response);
  return { ...answer, text: textOf(answer) };
}

function textOf({ headers, body }: WireResponse): string {
  const coding = headers['content-encoding'];
  if (coding === 'gzip') return gunzipSync(body).toString();
  if (coding === 'br') return brotliDecompressSync(body).toString();
  return body.toString();
}

/** The text of every event of a list, page by page. */
export async function readPages(
  service: Askable,
  token: string,
  query: Record<string, string>,
): Promise<string[]> {
  const found: string[] = [];
  for (let cursor: string | undefined = ''; cursor !== undefined;) {
    const asked = { ...query, limit: '1000', ...(cursor === '' ? {} : { cursor }) };
    const answer = await service.get(`${EVENTS}?${new URLSearchParams(asked).toString()}`, token);
    if (answer.status !== 200) throw new Error(answer.text);
    found.push(...elementTexts(memberTexts(answer.text).get('data') ?? '[]'));
    cursor = answer.json.pagination.nextCursor as string | undefined;
  }
  return found;
}

/** The lines of an NDJSON export. */
export function linesOf(text: string): string[] {
  return text === '' ? [] : text.replace(/\n$/, '').split('\n');
}
