import type { RawRecord } from './raw-record';

/** `node=web-1 type=SYSCALL msg=audit(1364481363.243:24287): ` */
const HEADER = /^(?:node=(\S+) )?type=(\S+) msg=audit\((\d{1,12})\.(\d{3}):(\d{1,20})\):/;

/** Time after which no record of an event is expected any more, as auditd's `end_of_event_timeout`. */
const END_OF_EVENT_MS = 2_000;
/** Limits of events that are not complete; the oldest is taken as it is. */
const MAX_OPEN = 10_000;
const MAX_OPEN_BYTES = 16 * 1024 * 1024;

interface Header {
  node: string | undefined;
  type: string;
  serial: string;
  atMs: number;
  /** Of the event. */
  key: string;
}

interface OpenEvent extends Omit<Header, 'type'> {
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
  // By node, as the clocks of two machines may differ by more than an event takes.
  const ofNode = new Map<string, Set<OpenEvent>>();
  let bytes = 0;
  const close = (event: OpenEvent): RawRecord => {
    const events = ofNode.get(event.node ?? '');
    events?.delete(event);
    if (events?.size === 0) ofNode.delete(event.node ?? '');
    open.delete(event.key);
    bytes -= event.bytes;
    return recordOf(event);
  };
  for await (const line of lines) {
    const header = headerOf(line);
    if (header === undefined) {
      const isBlank = line.bytes.toString('latin1').trim() === '';
      yield isBlank ? line : { ...line, content: { refusal: NO_RECORD } };
      continue;
    }
    const { type, key, node = '', atMs } = header;
    const known = open.get(key);
    if (type === 'EOE') {
      if (known) {
        known.lines += 1;
        yield close(known);
      }
      continue;
    }
    // A copy: a line may be a small part of what was read, and would hold all of it.
    const raw = { ...line, bytes: Buffer.from(line.bytes) };
    const event = known ?? { ...header, first: raw, records: [], lines: 0, bytes: 0 };
    if (!known) {
      open.set(key, event);
      ofNode.set(node, (ofNode.get(node) ?? new Set()).add(event));
    }
    event.lines += 1;
    if (isRepeated(event, raw)) continue;
    event.records.push({ type, raw });
    event.bytes += raw.bytes.length;
    bytes += raw.bytes.length;
    for (const other of ofNode.get(node) ?? []) {
      if (Math.abs(other.atMs - atMs) < END_OF_EVENT_MS) break;
      yield close(other);
    }
    for (const oldest of open.values()) {
      if (open.size <= MAX_OPEN && bytes <= MAX_OPEN_BYTES) break;
      yield close(oldest);
    }
  }
  for (const event of open.values()) yield close(event);
}

/** Tells whether another file has the same line: a file that was copied, rather than rotated, is read beside its copy. */
function isRepeated({ records }: OpenEvent, line: RawRecord): boolean {
  return records.some(({ raw }) => raw.file !== line.file && raw.bytes.equals(line.bytes));
}

function headerOf({ bytes }: RawRecord): Header | undefined {
  const text = bytes.toString('latin1').replace(/^\u00ef\u00bb\u00bf/, '');
  const match = HEADER.exec(text);
  if (!match) return undefined;
  const [, node, type = '', seconds = '', millis = '', serial = ''] = match;
  const key = `${node ?? ''} ${seconds}.${millis}:${serial}`;
  return { node, type, serial, key, atMs: Number(seconds) * 1000 + Number(millis) };
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
      // Enriched fields follow after a group separator.
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
  if (name === 'saddr') return socketAddressOf(bytes) ?? value;
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
function socketAddressOf(bytes: Buffer): string | undefined {
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
