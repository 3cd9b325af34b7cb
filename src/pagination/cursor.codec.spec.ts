import fc from 'fast-check';
import { CursorCodec } from './cursor.codec';

const codec = new CursorCodec(Buffer.alloc(32, 7));
const position = [false, { timestamp: '2026-11-23T10:30:00.000000Z', id: 'é"' }];
const refusal = expect.objectContaining({ code: 'INVALID_CURSOR', status: 400 }) as Error;

describe('a cursor', () => {
  it('gives its position back to the same asker', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.string(), (value, binding) => {
        const cursor = codec.encode(value, binding);
        expect(cursor).toMatch(/^[\w-]+$/);
        expect(JSON.stringify(codec.decode(cursor, binding))).toBe(JSON.stringify(value));
      }),
    );
  });

  it('is refused for anybody and anything else', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (mine, other) => {
        fc.pre(mine !== other);
        expect(() => codec.decode(codec.encode(position, mine), other)).toThrow(refusal);
      }),
    );
    const cursor = codec.encode(position, 'alice');
    expect(() => new CursorCodec(Buffer.alloc(32, 8)).decode(cursor, 'alice')).toThrow(refusal);
  });

  it('is refused when a single character of it changed, was added or went', () => {
    const cursor = codec.encode(position, 'alice');
    for (let at = 0; at < cursor.length; at += 1) {
      for (const other of ['A', 'B', '_', '=', '']) {
        const changed = cursor.slice(0, at) + other + cursor.slice(at + 1);
        if (changed !== cursor) expect(() => codec.decode(changed, 'alice')).toThrow(refusal);
      }
    }
    for (const changed of [`${cursor}A`, `${cursor}=`, ` ${cursor}`, `${cursor}\n`]) {
      expect(() => codec.decode(changed, 'alice')).toThrow(refusal);
    }
  });

  it('is refused when it is anything at all', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.base64String()), (text) => {
        expect(() => codec.decode(text, 'alice')).toThrow(refusal);
      }),
    );
  });

  it('does not let a part of the binding pass for the position', () => {
    const cursor = codec.encode('b', 'a');
    const bytes = Buffer.from(cursor, 'base64url');
    const moved = Buffer.concat([bytes.subarray(0, 16), Buffer.from('"b"')]).toString('base64url');
    expect(codec.decode(moved, 'a')).toBe('b');
    expect(() => codec.decode(moved, 'a"b"')).toThrow(refusal);
    expect(() => codec.decode(moved, '')).toThrow(refusal);
  });
});
