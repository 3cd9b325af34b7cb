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
/** Within a body there is no byte order mark to leave out. */
const UTF8_WITHIN = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Decodes and parses the bytes of a body; numbers keep their text (exact-json.ts). */
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
 * The same for a large body, in several turns of the event loop when it holds a long list: `{"events":[…]}`. What is
 * wrong with it is told as `parseJsonBytes` tells it, by having that read the whole.
 * @throws AppError MALFORMED_JSON, VALIDATION_FAILED; the reason of the signal, as soon as the next piece would be read.
 */
export async function parseInPieces(
  bytes: Buffer,
  portions: EventLoopYielder,
  signal?: AbortSignal,
): Promise<unknown> {
  await portions.yieldIfDue(signal);
  const cut = splitJsonArray(bytes);
  if (!cut) return parseJsonBytes(bytes);
  const elements: unknown[] = [];
  const budget = { left: MAX_EXACT_NUMBERS };
  for (const piece of cut.pieces) {
    await portions.yieldIfDue(signal);
    const found = elementsOf(piece, budget);
    if (!found) {
      elements.length = 0; // twice as much is not held for what is refused
      return parseJsonBytes(bytes);
    }
    for (const element of found) elements.push(element);
  }
  try {
    const value = parseExactJson(UTF8.decode(cut.frame), budget) as Record<string, unknown>;
    const name = JSON.parse(UTF8.decode(cut.name)) as string;
    if (Array.isArray(value) || !isEmptyList(value[name])) return parseJsonBytes(bytes);
    value[name] = elements;
    return value;
  } catch {
    return parseJsonBytes(bytes);
  }
}

/** The elements in a piece of a list; undefined when it holds none, or anything else. */
function elementsOf(piece: Buffer, budget: { left: number }): unknown[] | undefined {
  try {
    // As deep as they are in the body.
    const [elements] = parseExactJson(`[[${UTF8_WITHIN.decode(piece)}]]`, budget) as unknown[][];
    return elements && elements.length > 0 ? elements : undefined;
  } catch {
    return undefined;
  }
}

function isEmptyList(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}

/** Where V8 found text to be no JSON. It names the place of all faults but of a token where a value is due. */
function positionIn(message: string, text: string): number {
  const named = /position (\d+)/.exec(message)?.[1];
  if (named !== undefined) return Number(named);
  return message.includes('Unexpected token') ? badValueIn(text) : text.length;
}

const VALUES = ['true', 'false', 'null'];

/** Where the first thing is that is no value, but stands where one is due. One look, as long as the text. */
function badValueIn(text: string): number {
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
