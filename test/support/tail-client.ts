/** A message of a stream of server-sent events. */
export interface TailMessage {
  id?: string;
  event?: string;
  data: string;
}

/** A reader of `GET /audit/events/tail`, over fetch: takes what comes and keeps it. */
export class TailClient {
  readonly messages: TailMessage[] = [];
  private readonly controller = new AbortController();
  /** Resolves when the stream has ended, in whatever way. */
  private ended: Promise<void> = Promise.resolve();
  isOver = false;
  /** What is not yet part of a message. */
  private text = '';

  private constructor(readonly response: Response) {}

  /** Connects; resolves with the head of the answer. */
  static async open(url: string, headers: Record<string, string>): Promise<TailClient> {
    const controller = new AbortController();
    const response = await fetch(url, { headers, signal: controller.signal });
    const client = new TailClient(response);
    client.controller.signal.addEventListener('abort', () => controller.abort());
    client.ended = client.read().finally(() => {
      client.isOver = true;
    });
    return client;
  }

  /** The events that have come. */
  get events(): Record<string, unknown>[] {
    return this.messages
      .filter(({ event }) => event === 'audit.event')
      .map(({ data }) => JSON.parse(data) as Record<string, unknown>);
  }

  get lastId(): string {
    return this.messages.findLast(({ id }) => id !== undefined)?.id ?? '';
  }

  /** What an answer that is no stream says, whole. */
  async textOfRefusal(): Promise<string> {
    await this.ended;
    return this.text;
  }

  async close(): Promise<void> {
    this.controller.abort();
    await this.ended;
  }

  private async read(): Promise<void> {
    try {
      const decoder = new TextDecoder();
      for await (const chunk of this.response.body ?? []) {
        this.text += decoder.decode(chunk as Uint8Array, { stream: true });
        const parts = this.text.split('\n\n');
        this.text = parts.pop() ?? '';
        for (const part of parts) this.take(part);
      }
    } catch {
      // Cut, by us or by the service: what came before counts.
    }
  }

  private take(part: string): void {
    const fields = new Map(
      part.split('\n').map((line) => /^([^:]*): ?(.*)$/.exec(line)?.slice(1) as [string, string]),
    );
    const data = fields.get('data');
    if (data !== undefined)
      this.messages.push({ id: fields.get('id'), event: fields.get('event'), data });
  }
}
