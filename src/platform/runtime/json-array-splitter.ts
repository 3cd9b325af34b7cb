/**
 * Splits a bulk body between the elements of its list. V8 allocates anything above 128 KiB from the operating system
 * and parses it in one go; pieces take half the time, and other requests run in between
 * (docs/adr/0027-few-large-bodies-at-once.md).
 */

const [QUOTE, BACKSLASH, COMMA] = [0x22, 0x5c, 0x2c];
const [OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5d, 0x7b, 0x7d];

/** Bytes after which a piece ends with the current element. */
const PIECE_BYTES = 64 * 1024;

interface SplitArray {
  /** The member's name as a JSON string. */
  name: Buffer;
  /** The body with an empty list in its place. */
  frame: Buffer;
  pieces: Buffer[];
}

/**
 * Splits the first long list in the outermost object, or returns undefined. Scans brackets, strings and commas alone:
 * the whole is well-formed when the frame is an object with an empty list of this name, and each piece in brackets is a
 * list with elements.
 */
export function splitJsonArray(body: Buffer): SplitArray | undefined {
  let depth = 0;
  let name: Buffer | undefined;
  for (let at = 0; at < body.length; at += 1) {
    const byte = body[at];
    if (byte === QUOTE) {
      const end = endOfString(body, at);
      if (depth === 1) name = body.subarray(at, end + 1);
      at = end;
    } else if (byte === OPEN_LIST && depth === 1 && name) {
      const { pieces, end } = piecesOf(body, at + 1);
      if (pieces.length > 1) {
        return {
          name,
          frame: Buffer.concat([body.subarray(0, at + 1), body.subarray(end)]),
          pieces,
        };
      }
      at = end;
    } else if (byte === OPEN_OBJECT || byte === OPEN_LIST) depth += 1;
    else if (byte === CLOSE_OBJECT || byte === CLOSE_LIST) depth -= 1;
  }
  return undefined;
}

function piecesOf(body: Buffer, start: number): { pieces: Buffer[]; end: number } {
  const pieces: Buffer[] = [];
  let depth = 0;
  let from = start;
  let at = start;
  for (; at < body.length; at += 1) {
    const byte = body[at];
    if (byte === QUOTE) at = endOfString(body, at);
    else if (byte === OPEN_OBJECT || byte === OPEN_LIST) depth += 1;
    else if (byte === CLOSE_OBJECT || byte === CLOSE_LIST) {
      depth -= 1;
      if (depth < 0) break;
    } else if (byte === COMMA && depth === 0 && at - from >= PIECE_BYTES) {
      pieces.push(body.subarray(from, at));
      from = at + 1;
    }
  }
  pieces.push(body.subarray(from, at));
  return { pieces, end: at };
}

/** The length of the body when the string has no end. */
function endOfString(body: Buffer, start: number): number {
  for (let at = start + 1; at < body.length; at += 1) {
    const byte = body[at];
    if (byte === BACKSLASH) at += 1;
    else if (byte === QUOTE) return at;
  }
  return body.length;
}
