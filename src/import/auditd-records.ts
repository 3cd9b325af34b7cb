import type { RawRecord } from './raw-record';

/** `node=web-1 type=SYSCALL msg=audit(1364481363.243:24287): ` */
const HEADER = /^(?:node=(\S+) )?type=(\S+) msg=audit\((\d{1,12})\.(\d{3}):(\d{1,20})\):/;

/** Time behind which no record of an event is expected any more, as auditd's `end_of_event_timeout`. */
const END_OF_EVENT_MS = 2_000;
/** Limits of events that are not complete; the oldest is taken as it is. */
const MAX_OPEN = 10_000;
const MAX_OPEN_BYTES = 16 * 1024 * 1024;

interface OpenEvent {
  node: string | undefined;
  seconds: string;
  millis: string;
  serial: string;
  atMs: number;
  first: RawRecord;
  records: { type: string; raw: RawRecord }[];
  /** With the record that marks the end. */
  lines: number;
  bytes: number;
}

/**
 * Joins the lines of auditd to events, by node, time and serial; lines of several events may be mixed. An event is
 * complete with its EOE record, two seconds later, or at the end. A line that is no record is refused alone.
 */
export async function* joinAuditd(lines: AsyncIterable<RawRecord>): AsyncGenerator<RawRecord> {
  const open = new Map<string, OpenEvent>();
  let bytes = 0;
  const close = (key: string, event: OpenEvent): RawRecord => {
    open.delete(key);
    bytes -= event.bytes;
    return recordOf(event);
  };
  for await (const line of lines) {
    const text = line.bytes.toString('latin1').replace(/^\u00ef\u00bb\u00bf/, '');
    const match = HEADER.exec(text);
    if (!match) {
      yield text.trim() === '' ? line : { ...line, content: { refusal: NO_RECORD } };
      continue;
    }
    const [, node, type = '', seconds = '', millis = '', serial = ''] = match;
    const key = `${node ?? ''} ${seconds}.${millis}:${serial}`;
    const atMs = Number(seconds) * 1000 + Number(millis);
    let event = open.get(key);
    if (type === 'EOE') {
      if (event) {
        event.lines += 1;
        yield close(key, event);
      }
      continue;
    }
    if (event === undefined) {
      event = {
        ...{ node, seconds, millis, serial, atMs },
        ...{ first: line, records: [], lines: 0, bytes: 0 },
      };
      open.set(key, event);
    }
    event.records.push({ type, raw: line });
    event.lines += 1;
    event.bytes += line.bytes.length;
    bytes += line.bytes.length;
    for (const [other, { atMs: otherMs }] of open) {
      const isOver = open.size > MAX_OPEN || bytes > MAX_OPEN_BYTES;
      if (!isOver && otherMs > atMs - END_OF_EVENT_MS) break;
      const oldest = open.get(other);
      if (oldest) yield close(other, oldest);
    }
  }
  for (const [key, event] of open) yield close(key, event);
}

const NO_RECORD =
  'the line is not a record of auditd, which begins with type=… msg=audit(seconds.milliseconds:serial):';

/** Fails rather than replace bytes by U+FFFD. */
const exactText = new TextDecoder('utf-8', { fatal: true });

/** The event as JSON: its records with their fields, and their lines as they were. */
function recordOf(event: OpenEvent): RawRecord {
  const { first, records } = event;
  const bytes = Buffer.concat(
    records.flatMap(({ raw }, index) => (index === 0 ? [raw.bytes] : [LINE_BREAK, raw.bytes])),
  );
  const record = { ...first, bytes, isTooLong: false, lines: event.lines };
  const refuse = (refusal: string): RawRecord => ({ ...record, content: { refusal } });
  if (records.some(({ raw }) => raw.isTooLong)) {
    return refuse('a line of the event is longer than a request may be; its beginning is shown');
  }
  let lines: string[];
  try {
    lines = records.map(({ raw }) => exactText.decode(raw.bytes).trimEnd());
  } catch {
    return refuse('the event is not valid UTF-8; the bytes that are not are shown as \ufffd');
  }
  const date = new Date(event.atMs);
  const json = JSON.stringify({
    node: event.node,
    timestamp: date.toISOString(),
    serial: event.serial,
    records: records.map(({ type }, index) => ({
      type,
      // Enriched fields follow behind a group separator.
      fields: fieldsOf(type, (lines[index] ?? '').replace(HEADER, '').replaceAll('\u001d', ' ')),
    })),
    lines,
  });
  return { ...record, content: { json } };
}

const LINE_BREAK = Buffer.from('\n');

/** Quoted, nested, braced, or up to a blank. */
const FIELD = /([A-Za-z][\w[\]-]*)=(?:"([^"]*)"|'([^]*)'|(\{[^}]*\})|([^\s]*))/g;

/** `avc:  denied  { read write } for` */
const ACCESS_VECTOR = /^\s*avc:\s+(\w+)\s+\{\s*([^}]*?)\s*\}/;

type Fields = Record<string, string>;

/** The fields of a record, decoded; those of a program's message (`msg='…'`) beside its own. The first of a name counts. */
function fieldsOf(type: string, text: string): Fields {
  // Names come from programs: no name may reach the prototype.
  const fields = Object.create(null) as Fields;
  const vector = ACCESS_VECTOR.exec(text);
  if (vector) Object.assign(fields, { seresult: vector[1], seperms: vector[2] });
  for (const [, name = '', quoted, nested, braced, plain = ''] of text.matchAll(FIELD)) {
    if (nested !== undefined) {
      const inner = fieldsOf(type, nested);
      for (const [key, value] of Object.entries(inner)) fields[key] ??= value;
    } else {
      fields[name] ??= quoted ?? braced ?? decoded(type, name, withoutBrackets(plain));
    }
  }
  return fields;
}

/** Old messages have fields in brackets, `(hostname=?, addr=?)`; `(null)` is a value. */
const withoutBrackets = (value: string) =>
  value.startsWith('(') ? value : value.replace(/[,)]+$/, '');

/** Fields that are in hexadecimal when they hold a blank, a quote or anything beyond ASCII, and have no quotes then. */
const ENCODED = new Set(
  'acct cgroup cmd comm cwd data device dir exe file grp invalid_context key name new-chardev new-disk new-fs ocomm old-chardev old-disk old-fs path proctitle root_dir sw vm watch'.split(
    ' ',
  ),
);
const ARGUMENT = /^a\d+(\[\d+\])?$/;
const HEX = /^(?:[0-9A-F]{2})+$/;

function decoded(type: string, name: string, value: string): string {
  if (!HEX.test(value)) return value;
  const bytes = Buffer.from(value, 'hex');
  if (name === 'saddr') return addressOf(bytes) ?? value;
  // a0 to a3 of a system call are numbers, those of EXECVE texts.
  const isEncoded = ENCODED.has(name) || (type === 'EXECVE' && ARGUMENT.test(name));
  if (!isEncoded) return value;
  try {
    const text = exactText.decode(bytes);
    // Arguments of a title are separated by NUL, which no event can hold.
    const isTitle = name === 'proctitle';
    const shown = isTitle ? text.replace(/\0+$/, '').replaceAll('\0', ' ') : text;
    return shown.includes('\0') ? value : shown;
  } catch {
    return value;
  }
}

const [FAMILY_UNIX, FAMILY_INET, FAMILY_INET6] = [1, 2, 10];

/** `192.0.2.7:443`, `[2001:db8::7]:443` or the path of a local socket; undefined for other families. */
function addressOf(bytes: Buffer): string | undefined {
  const family = bytes.length >= 2 ? bytes.readUInt16LE(0) : 0;
  if (family === FAMILY_INET && bytes.length >= 8) {
    return `${bytes.subarray(4, 8).join('.')}:${bytes.readUInt16BE(2)}`;
  }
  if (family === FAMILY_INET6 && bytes.length >= 24) {
    const groups = bytes.subarray(8, 24).toString('hex').match(/.{4}/g) ?? [];
    const { hostname } = new URL(`http://[${groups.join(':')}]`);
    return `${hostname}:${bytes.readUInt16BE(2)}`;
  }
  const path = family === FAMILY_UNIX ? bytes.toString('latin1', 2).replace(/\0.*$/s, '') : '';
  return /^[\x20-\x7e]+$/.test(path) ? path : undefined;
}
