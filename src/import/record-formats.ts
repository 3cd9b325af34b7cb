import { joinAuditd } from './auditd-records';
import { mapAuditd } from './auditd.mapping';
import { mapAzure } from './azure.mapping';
import { mapCloudTrail } from './cloudtrail.mapping';
import { mapEvent } from './event.mapping';
import { mapGitHub } from './github.mapping';
import { mapKubernetes } from './kubernetes.mapping';
import { mapOkta } from './okta.mapping';
import type { RawRecord } from './raw-record';
import { keepingRecord, type RecordMapping } from './record-mapping';
import { joinVaultPairs } from './vault-pairs';
import { mapVault } from './vault.mapping';
import { mapWikipedia } from './wikipedia.mapping';
import { mapWrappedEvent } from './wrapped-event.mapping';

export interface RecordFormat {
  map: RecordMapping;
  /** The content of a file: JSON lines or a JSON document, the same or CSV with a header, CSV alone, lines that are no JSON. */
  content: 'json' | 'json or csv' | 'csv' | 'lines';
  /** Names of lists whose elements are the records of a whole JSON document. */
  lists: readonly string[];
  /** Joins records that are one event, over all files. */
  join?: (records: AsyncIterable<RawRecord>) => AsyncIterable<RawRecord>;
  /** The format whose ids these are, of two for the same records. */
  idsOf?: string;
  /** False where records name no organization: `--organization` is required. */
  namesOrganization: boolean;
}

const JSON_RECORDS = { content: 'json', lists: [], namesOrganization: true } as const;

const RECORD_FORMATS = {
  cloudtrail: { ...JSON_RECORDS, map: keepingRecord(mapCloudTrail), lists: ['Records'] },
  wikipedia: { ...JSON_RECORDS, map: keepingRecord(mapWikipedia) },
  event: { ...JSON_RECORDS, map: mapEvent, content: 'json or csv', lists: ['data'] },
  csv: { ...JSON_RECORDS, map: mapEvent, content: 'csv', idsOf: 'event' },
  ocsf: { ...JSON_RECORDS, map: mapWrappedEvent('unmapped'), idsOf: 'event' },
  cloudevents: { ...JSON_RECORDS, map: mapWrappedEvent('data'), idsOf: 'event' },
  kubernetes: {
    ...JSON_RECORDS,
    map: keepingRecord(mapKubernetes),
    lists: ['items'],
    namesOrganization: false,
  },
  vault: { ...JSON_RECORDS, map: keepingRecord(mapVault), join: joinVaultPairs },
  okta: { ...JSON_RECORDS, map: keepingRecord(mapOkta), namesOrganization: false },
  github: { ...JSON_RECORDS, map: keepingRecord(mapGitHub) },
  azure: { ...JSON_RECORDS, map: keepingRecord(mapAzure), lists: ['records', 'value'] },
  auditd: {
    ...JSON_RECORDS,
    map: keepingRecord(mapAuditd),
    content: 'lines',
    join: joinAuditd,
    namesOrganization: false,
  },
} satisfies Record<string, RecordFormat>;

export type Format = keyof typeof RECORD_FORMATS;

export const FORMATS = Object.keys(RECORD_FORMATS) as Format[];

export function recordFormat(format: Format): RecordFormat {
  return RECORD_FORMATS[format];
}
