import { Injectable } from '@nestjs/common';
import { ResponseMemory } from '../../http/response-memory';
import { HELD_PAGE_BYTES } from '../read/audit-pages';
import { AuditQueries } from '../read/audit.queries';
import type { PageRequest } from '../read/page-statement';
import { ReadScheduler } from '../read/read-scheduler';

/** Bytes of a page without memory for responses. A single event is read whatever its size. */
const SMALL_PAGE_BYTES = 64 * 1024;
/** Two bytes a character at worst. */
const COPIES = 2;

export interface BackfillPage {
  texts: string[];
  isSmall: boolean;
  /** Must be called when the subscriber has taken the page, or has left. */
  release: () => void;
}

/** Pages for feeds that catch up, in memory until their subscriber has taken them. */
@Injectable()
export class BackfillPages {
  constructor(
    private readonly queries: AuditQueries,
    private readonly scheduler: ReadScheduler,
    private readonly memory: ResponseMemory,
  ) {}

  /** @throws AppError REQUEST_TOO_LARGE when smaller pages are necessary; what reading throws. */
  async read(request: PageRequest, flow: string, signal: AbortSignal): Promise<BackfillPage> {
    const reservation = this.memory.tryReserve(COPIES * HELD_PAGE_BYTES);
    const maxBytes = reservation || request.limit === 1 ? HELD_PAGE_BYTES : SMALL_PAGE_BYTES;
    try {
      const texts = await this.scheduler.read({ flow, signal }, () =>
        this.queries.findPage(request, signal, { maxBytes }),
      );
      const characters = texts.reduce((sum, { length }) => sum + length, 0);
      reservation?.resize(COPIES * Math.min(HELD_PAGE_BYTES, characters));
      return {
        texts,
        isSmall: 4 * characters <= maxBytes,
        release: () => reservation?.release(),
      };
    } catch (error) {
      reservation?.release();
      throw error;
    }
  }
}
