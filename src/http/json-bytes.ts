import { AppError, validationFailed } from '../platform/errors/app-error';
import {
  endOfString,
  MAX_EXACT_NUMBERS,
  parseExactJson,
  UnacceptableJsonError,
} from '../platform/runtime/lossless-json';
import { splitJsonArray } from '../platform/runtime/json-array-splitter';
import type { EventLoopYielder } from '../platform/runtime/event-loop-yielder';

const UTF8 = new TextDecoder('utf-8', { fatal: true });
/** Later pieces have no byte order mark to remove. */
const UTF8_WITHIN = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Decodes and parses a body; numbers keep their text (lossless-json.ts). */
export function parseJsonBytes(bytes: Buffer): unknown {
  if (bytes.length === 0) throw new AppError('MALFORMED_JSON', 'The body is empty.');
  let text: string;
  try {
    text = UTF8.decode(bytes);
  } catch {
    throw new AppError('MALFORMED_JSON', 'The body is not valid UTF-8.');
  }
  try {
    return parseExactJson(text);
  } catch (error) {
    if (error instanceof UnacceptableJsonError) {
      throw validationFailed([{ path: '', message: error.message }]);
    }
    const position = positionIn(String(error), text);
    const before = text.slice(0, position).split('\n');
    const column = (before.at(-1)?.length ?? 0) + 1;
    throw new AppError(
      'MALFORMED_JSON',
      `The body is not well-formed JSON: it breaks at line ${before.length}, column ${column}.`,
    );
  }
}

/**
 * As parseJsonBytes, in several iterations of the event loop for a long list (`{"events":[…]}`). An invalid body is
 * parsed again as a whole for its error.
 * @throws AppError MALFORMED_JSON, VALIDATION_FAILED; the reason of the signal, before the next piece.
 */
export async function parseInPieces(
  bytes: Buffer,
  yielder: EventLoopYielder,
  signal?: AbortSignal,
): Promise<unknown> {
  await yielder.yieldIfDue(signal);
  const split = splitJsonArray(bytes);
  if (!split) return parseJsonBytes(bytes);
  const elements: unknown[] = [];
  const budget = { left: MAX_EXACT_NUMBERS };
  for (const piece of split.pieces) {
    await yielder.yieldIfDue(signal);
    const found = elementsOf(piece, budget);
    if (!found) {
      elements.length = 0; // not held beside a second copy
      return parseJsonBytes(bytes);
    }
    for (const element of found) elements.push(element);
  }
  try {
    const value = parseExactJson(UTF8.decode(split.frame), budget) as Record<string, unknown>;
    const name = JSON.parse(UTF8.decode(split.name)) as string;
    if (Array.isArray(value) || !isEmptyList(value[name])) return parseJsonBytes(bytes);
    value[name] = elements;
    return value;
  } catch {
    return parseJsonBytes(bytes);
  }
}

/** Undefined for a piece without elements or with anything else. */
function elementsOf(piece: Buffer, budget: { left: number }): unknown[] | undefined {
  try {
    // Parsed at the depth that they have in the body.
    const [elements] = parseExactJson(`[[${UTF8_WITHIN.decode(piece)}]]`, budget) as unknown[][];
    return elements && elements.length > 0 ? elements : undefined;
  } catch {
    return undefined;
  }
}

function isEmptyList(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}

/** V8 names the position of all errors but an unexpected token in place of a value. */
function positionIn(message: string, text: string): number {
  const named = /position (\d+)/.exec(message)?.[1];
  if (named !== undefined) return Number(named);
  return message.includes('Unexpected token') ? badValuePosition(text) : text.length;
}

const VALUES = ['true', 'false', 'null'];

/** Position of the first token that is no value; without one the end of the text. */
function badValuePosition(text: string): number {
  let isDue = true;
  let before = '';
  for (let at = 0; at < text.length; at += 1) {
    const char = text[at] ?? '';
    if (' \t\n\r'.includes(char)) continue;
    if (char === '"') at = endOfString(text, at) - 1;
    else if (isDue && !'{[-0123456789'.includes(char) && !(char === ']' && before === '[')) {
      const word = VALUES.find((value) => text.startsWith(value, at));
      if (word === undefined) return at;
      at += word.length - 1;
    }
    isDue = char === ',' || char === ':' || char === '[';
    before = char;
  }
  return text.length;
}
