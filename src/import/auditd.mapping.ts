import { tableMapping } from './field-table';
import {
  firstName,
  type JsonObject,
  type MappedEvent,
  type MappedTarget,
  objectOf,
  textOf,
} from './record-mapping';

/** Records that tell details of another record of their event. */
const DETAILS = new Set(
  'SYSCALL CWD PATH PROCTITLE EXECVE SOCKADDR SOCKETCALL BPRM_FCAPS CAPSET MMAP IPC OBJ_PID FD_PAIR KERN_MODULE TIME_ADJNTPVAL TIME_INJOFFSET OPENAT2'.split(
    ' ',
  ),
);

/** User and session ids that are not set, as numbers and as names. */
const UNSET = new Set(['4294967295', '-1', 'unset', '?', '(null)', '(none)', '']);

/**
 * Maps one event of auditd, as auditd-records.ts joins it. Numbers of users and system calls stay numbers unless the log
 * is enriched (`log_format = ENRICHED`): their names are those of the machine. An event that tells no result is an
 * attempt.
 */
export const mapAuditd = tableMapping({
  id: ({ value, namedId }) =>
    namedId(textOf(value.node) ?? '', String(value.timestamp), String(value.serial)),
  timestamp: ['timestamp'],
  organizationId: [],
  principalId: [
    (value) => field(value, 'AUID') ?? field(value, 'auid'),
    (value) => field(value, 'acct'),
    (value) => field(value, 'UID') ?? field(value, 'uid'),
  ],
  action: [actionOf],
  targetResourceType: [(value) => targetOf(value)?.type],
  targetResourceId: [(value) => targetOf(value)?.id],
  status: statusOf,
  outcomeDescription: [(value) => exitOf(value)],
  dataClassification: () => 'INTERNAL',
  correlationId: [(value) => `${String(value.timestamp)}:${String(value.serial)}`],
  sessionId: [(value) => field(value, 'ses')],
  ipAddress: [(value) => field(value, 'addr'), (value) => field(value, 'hostname')],
  userAgent: [],
  targets: filesOf,
  host: ['node'],
});

interface AuditdRecord {
  type: string;
  fields: JsonObject;
}

function recordsOf(value: JsonObject): AuditdRecord[] {
  const records: unknown[] = Array.isArray(value.records) ? value.records : [];
  return records.map((record) => {
    const { type, fields } = objectOf(record) ?? {};
    return { type: textOf(type) ?? '', fields: objectOf(fields) ?? {} };
  });
}

/** The first value of a field that is set, in any record. */
function field(value: JsonObject, name: string): string | undefined {
  return recordsOf(value)
    .map(({ fields }) => textOf(fields[name]))
    .find((text) => text !== undefined && !UNSET.has(text));
}

/** The type of the record that is no detail (`USER_LOGIN`), else `syscall:openat` or `syscall:257`. */
function actionOf(value: JsonObject): string | undefined {
  const records = recordsOf(value);
  const main = records.find(({ type }) => !DETAILS.has(type));
  if (main) return main.type;
  const syscall = field(value, 'SYSCALL') ?? field(value, 'syscall');
  return syscall ? `syscall:${syscall}` : records[0]?.type;
}

function statusOf(value: JsonObject): MappedEvent['status'] {
  if (field(value, 'seresult') === 'denied') return 'failure';
  const result = field(value, 'success') ?? field(value, 'res') ?? field(value, 'result');
  if (result === undefined) return 'attempt';
  return /^(yes|success|1)$/.test(result) ? 'success' : 'failure';
}

function exitOf(value: JsonObject): string | undefined {
  const exit = field(value, 'EXIT') ?? field(value, 'exit');
  return exit === undefined ? undefined : `exit ${exit}`;
}

/** The files that were named, without their folders, as both names of a file that is moved. */
function filesOf(value: JsonObject): MappedTarget[] {
  const files = recordsOf(value)
    .filter(({ type, fields }) => type === 'PATH' && fields.nametype !== 'PARENT')
    .flatMap(({ fields }) => textOf(fields.name) ?? [])
    .filter((name) => !UNSET.has(name));
  return [...new Set(files)].map((file) => ({ type: 'file', id: firstName(file) }));
}

/** A file that was named (not its folder), a socket, an account, a service, else the program. */
function targetOf(value: JsonObject): { type: string; id: string } | undefined {
  const paths = recordsOf(value).filter(({ type }) => type === 'PATH');
  const path =
    paths.find(({ fields }) => fields.nametype !== 'PARENT' && textOf(fields.name)) ?? paths[0];
  const candidates: [string, string | undefined][] = [
    ['file', textOf(path?.fields.name)],
    ['socket', field(value, 'saddr')],
    ['account', field(value, 'acct')],
    ['service', field(value, 'unit')],
    ['program', field(value, 'exe')],
  ];
  for (const [type, id] of candidates) {
    if (id !== undefined && !UNSET.has(id)) return { type, id };
  }
  return undefined;
}
