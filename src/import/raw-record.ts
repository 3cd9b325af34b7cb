import type { Line } from '../platform/runtime/line-splitter';

/** A record as it stands in a file; `number` is its line, the first one of several. */
export interface RawRecord extends Line {
  /** Counted from 1, of a JSON document. */
  element?: number;
  /** With several files. */
  file?: string;
  /** Of a record that is no JSON itself: the JSON object it stands for, on one line, or why it stands for none. */
  content?: { json: string } | { refusal: string };
  /** Lines that this record was joined from, when there are several. */
  lines?: number;
}

/** Decoder that fails rather than replace bytes by U+FFFD; it keeps a byte order mark. */
export const exactText = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
