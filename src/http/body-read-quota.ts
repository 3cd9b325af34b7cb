import { getHeapStatistics } from 'node:v8';
import { AppError } from '../platform/errors/app-error';

/** As a share of the heap's limit, by which machines are measured; the bytes themselves lie beside the heap. */
const SHARE = 1 / 2;
/** One sender may take so much of it: the rest is for everybody else. */
const SENDER_SHARE = 1 / 2;

/**
 * What bodies take while they are read. A client that sends most of a body and then stops holds it for up to two
 * minutes (HttpServer), in as many connections as it likes: beyond this room its bodies are refused. What a whole body
 * takes from then on is the concern of BodyMemoryLimiter.
 */
export class BodyReadQuota {
  private readonly bySender = new Map<string, number>();
  private takenBytes = 0;

  constructor(private readonly limitBytes = getHeapStatistics().heap_size_limit * SHARE) {}

  /** What is taken right now, in bytes. */
  get taken(): number {
    return this.takenBytes;
  }

  /** Takes room for bytes of this sender; false when there is none, for him or for anybody. */
  acquire(sender: string, bytes: number): boolean {
    const own = (this.bySender.get(sender) ?? 0) + bytes;
    if (own > this.limitBytes * SENDER_SHARE || this.takenBytes + bytes > this.limitBytes) {
      return false;
    }
    this.bySender.set(sender, own);
    this.takenBytes += bytes;
    return true;
  }

  /** Gives back what was taken. */
  release(sender: string, bytes: number): void {
    const left = (this.bySender.get(sender) ?? 0) - bytes;
    if (left > 0) this.bySender.set(sender, left);
    else this.bySender.delete(sender);
    this.takenBytes -= bytes;
  }
}

/** The refusal of a body for which there is no room. */
export function bodyQuotaExceeded(): AppError {
  return new AppError('TOO_MANY_REQUESTS', 'Too many large bodies are being sent at once.', {
    retryAfterSeconds: 1,
  });
}
