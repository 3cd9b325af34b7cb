import { elementsOf, memberOf } from './exact-json';
import { listText } from './view-state';

const EVENTS = 'api/v1/audit/events';

export interface EventTarget {
  type?: string;
  id?: string;
  name?: string;
}

/** An event: the members that a list shows, and its text with every digit. */
export interface ViewerEvent {
  /** JSON as the service sent it. */
  text: string;
  id: string;
  organizationId: string;
  sequence: string;
  timestamp: string;
  recordedAt: string;
  principalId: string | null;
  principalType?: string;
  principalName?: string;
  action: string;
  status: string;
  targetResourceType: string | null;
  targetResourceId: string | null;
  targets?: EventTarget[];
  outcomeDescription: string | null;
  dataClassification: string;
  correlationId: string | null;
  sessionContext: Record<string, string | null> | null;
  source?: Record<string, string | null>;
  schemaVersion?: string;
}

export interface EventPage {
  events: ViewerEvent[];
  nextCursor: string | undefined;
}

/** Events by day: dates (`2026-11-30`) in the zone that was asked for, without days that have none. */
export interface DayCounts {
  counts: Map<string, number>;
  total: number;
  /** False where the service gave up counting: the numbers are lower bounds. */
  isExact: boolean;
}

/** A refusal of the service (RFC 9457), or, with the status 0, a request without an answer. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly requestId?: string,
    /** Faults of the input: `path` as in `q`. */
    readonly errors: readonly { path: string; message: string }[] = [],
    readonly retryAfterSeconds?: number,
  ) {
    super(message);
    this.name = 'ApiError';
  }
}

/** Messages of a live feed. */
export interface FeedHandlers {
  /** The service follows; events from now on come. */
  opened: () => void;
  event: (event: ViewerEvent) => void;
  /** The id of a message that has come: a further connection continues behind it. */
  position: (id: string) => void;
}

export interface ExportProgress {
  bytes: number;
  /** Lines so far, in formats with a line for each event. */
  lines: number;
}

interface Access {
  /** URL of the service, without a path of the API. */
  base: string;
  /** The token; undefined where there is none. */
  token: () => string | undefined;
  /** Another token when the service refused this one; undefined where there is none. */
  renew: () => Promise<string | undefined>;
}

/** The routes of the service that a viewer needs. A refused token is renewed once for each request. */
export class AuditApi {
  constructor(private readonly access: Access) {}

  async page(filter: URLSearchParams, signal: AbortSignal): Promise<EventPage> {
    const response = await this.get(`${EVENTS}?${filter.toString()}`, signal);
    const text = await readText(response);
    const cursor = memberOf(memberOf(text, 'pagination') ?? '', 'nextCursor');
    return {
      events: elementsOf(memberOf(text, 'data') ?? '').map(eventOf),
      nextCursor: cursor === undefined ? undefined : (JSON.parse(cursor) as string),
    };
  }

  /** One event. @throws ApiError 404, and 409 where several organizations have the id. */
  async event(id: string, organization: string | undefined, signal: AbortSignal) {
    const query = new URLSearchParams();
    if (organization !== undefined) query.set('organization_ids', listText(organization));
    const path = `${EVENTS}/${encodeURIComponent(id)}?${query.toString()}`;
    return eventOf(await readText(await this.get(path, signal)));
  }

  /** Counts the events of a filter with a start; undefined where the service does not count. */
  async countsByDay(
    filter: URLSearchParams,
    zone: string,
    signal: AbortSignal,
  ): Promise<DayCounts | undefined> {
    const query = new URLSearchParams(filter);
    query.set('by', 'day');
    query.set('time_zone', zone);
    try {
      const response = await this.get(`${EVENTS}/counts?${query.toString()}`, signal);
      const body = JSON.parse(await readText(response)) as {
        counts: { value: string; count: number }[];
        total: number;
        countIsExact: boolean;
      };
      const counts = new Map(body.counts.map(({ value, count }) => [value, count]));
      return { counts, total: body.total, isExact: body.countIsExact };
    } catch (error) {
      // An addition: without it the list is as useful.
      if (error instanceof ApiError) return undefined;
      throw error;
    }
  }

  /**
   * Follows the events that are recorded from now on, or after the message `after`, until the connection ends.
   * @throws ApiError why the service ended the feed, or did not begin it.
   */
  async follow(
    filter: URLSearchParams,
    after: string | undefined,
    signal: AbortSignal,
    handlers: FeedHandlers,
  ): Promise<void> {
    const query = new URLSearchParams(filter);
    if (after !== undefined) query.set('after_sequence', after);
    const response = await this.get(
      `${EVENTS}/tail?${query.toString()}`,
      signal,
      'text/event-stream',
    );
    handlers.opened();
    try {
      for await (const { id, event, data } of messagesOf(response)) {
        if (event === 'error') throw refusalOf(200, data);
        if (event !== 'audit.event') continue;
        handlers.event(eventOf(data));
        if (id !== undefined) handlers.position(id);
      }
    } catch (error) {
      if (error instanceof ApiError || signal.aborted) throw error;
      // A connection that broke: its caller connects again.
    }
  }

  /** An export, as it arrives; one that fails is an error, so that a part never looks complete. */
  async export(
    filter: URLSearchParams,
    signal: AbortSignal,
    progress: (progress: ExportProgress) => void,
    write?: (chunk: Uint8Array<ArrayBuffer>) => Promise<void>,
  ): Promise<{ blob: Blob; name: string }> {
    const response = await this.get(`${EVENTS}/stream?${filter.toString()}`, signal, '*/*');
    const disposition = response.headers.get('content-disposition') ?? '';
    const name = /filename="?([^";]+)"?/.exec(disposition)?.[1] ?? 'audit-events';
    const type = response.headers.get('content-type') ?? 'application/octet-stream';
    const chunks: Uint8Array<ArrayBuffer>[] = [];
    let [bytes, lines] = [0, 0];
    const reader = response.body?.getReader();
    for (;;) {
      const part = await reader?.read().catch((error: unknown) => {
        throw signal.aborted ? error : unreachable();
      });
      if (!part || part.done) break;
      bytes += part.value.length;
      for (const byte of part.value) if (byte === 10) lines += 1;
      if (write) await write(part.value);
      else chunks.push(part.value);
      progress({ bytes, lines });
    }
    return { blob: new Blob(chunks, { type }), name };
  }

  private async get(path: string, signal: AbortSignal, accept = 'application/json') {
    let response = await this.send(path, signal, accept, this.access.token());
    if (response.status === 401) {
      const renewed = await this.access.renew();
      if (renewed !== undefined) response = await this.send(path, signal, accept, renewed);
    }
    if (!response.ok) throw await errorOf(response);
    return response;
  }

  private async send(path: string, signal: AbortSignal, accept: string, token?: string) {
    const headers: Record<string, string> = { accept };
    if (token !== undefined) headers.authorization = `Bearer ${token}`;
    try {
      const credentials = 'omit';
      return await fetch(`${this.access.base}/${path}`, { headers, signal, credentials });
    } catch (error) {
      if (signal.aborted) throw error;
      throw unreachable();
    }
  }
}

function unreachable(): ApiError {
  return new ApiError(0, 'UNREACHABLE', 'The service did not answer.');
}

async function readText(response: Response): Promise<string> {
  try {
    return await response.text();
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw unreachable();
  }
}

async function errorOf(response: Response): Promise<ApiError> {
  const text = await response.text().catch(() => '');
  return refusalOf(response.status, text, Number(response.headers.get('retry-after')) || undefined);
}

/** A problem document; an answer of a proxy has none. */
function refusalOf(status: number, text: string, retryAfterSeconds?: number): ApiError {
  try {
    const problem = JSON.parse(text) as Partial<{
      status: number;
      code: string;
      detail: string;
      requestId: string;
      errors: { path: string; message: string }[];
    }>;
    return new ApiError(
      problem.status ?? status,
      problem.code ?? 'UNKNOWN',
      problem.detail ?? '',
      problem.requestId,
      problem.errors,
      retryAfterSeconds,
    );
  } catch {
    return new ApiError(status, 'UNKNOWN', '', undefined, [], retryAfterSeconds);
  }
}

/** Members that a list shows are parsed; metadata and changes, which have numbers, stay in the text. */
export function eventOf(text: string): ViewerEvent {
  const event = JSON.parse(text) as ViewerEvent & { metadata?: unknown; changes?: unknown };
  delete event.metadata;
  delete event.changes;
  return { ...event, text };
}

interface StreamMessage {
  id: string | undefined;
  event: string;
  data: string;
}

/** Server-sent events (HTML, section 9.2) of a response; heartbeats are left out. */
async function* messagesOf(response: Response): AsyncGenerator<StreamMessage> {
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  if (!reader) return;
  let rest = '';
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const blocks = (rest + value).split('\n\n');
      rest = blocks.pop() ?? '';
      for (const block of blocks) {
        const message: StreamMessage = { id: undefined, event: 'message', data: '' };
        for (const line of block.split('\n')) {
          const colon = line.indexOf(': ');
          const [name, text] = [line.slice(0, colon), line.slice(colon + 2)];
          if (name === 'id') message.id = text;
          else if (name === 'event') message.event = text;
          else if (name === 'data') message.data += text;
        }
        if (message.data !== '') yield message;
      }
    }
  } finally {
    reader.cancel().catch(() => undefined);
  }
}
