import { tableMapping, valueAt } from './field-table';
import { type JsonObject, type MappedEvent, textOf, uuidOf } from './record-mapping';

/** Mounts whose paths hold neither secrets nor credentials. */
const PLAIN_MOUNTS = new Set(['system', 'ns_system', 'identity', 'ns_identity']);

/**
 * Maps one entry of a HashiCorp Vault audit device: a response, or a request that has none (an attempt). Values that
 * Vault hashed stay as they are, in `metadata`. The organization is the namespace.
 */
export const mapVault = tableMapping({
  id: ({ value, namedId }) => {
    const id = textOf(valueAt(value, 'request.id'));
    if (id === undefined) return undefined;
    return value.type === 'response'
      ? (uuidOf(id) ?? namedId(id))
      : namedId(id, String(value.type));
  },
  timestamp: ['time'],
  organizationId: [namespaceOf, 'request.namespace.id'],
  principalId: [
    'auth.entity_id',
    'auth.display_name',
    'request.client_id',
    'auth.accessor',
    'request.client_token_accessor',
  ],
  action: ['request.operation'],
  targetResourceType: ['request.mount_type'],
  targetResourceId: ['request.path'],
  status: statusOf,
  outcomeDescription: ['error'],
  dataClassification: (value) =>
    PLAIN_MOUNTS.has(textOf(valueAt(value, 'request.mount_type')) ?? '')
      ? 'INTERNAL'
      : 'CONFIDENTIAL',
  correlationId: ['request.id'],
  sessionId: ['auth.accessor', 'request.client_token_accessor'],
  ipAddress: ['request.remote_address'],
  userAgent: ['request.headers.user-agent.0'],
  principalName: ['auth.display_name'],
});

/** `team-a` of `team-a/`; the root namespace has no path. */
function namespaceOf(value: JsonObject): string | undefined {
  return textOf(valueAt(value, 'request.namespace.path'))?.replace(/\/$/, '');
}

function statusOf(value: JsonObject): MappedEvent['status'] {
  if (textOf(value.error) !== undefined) return 'failure';
  return value.type === 'response' ? 'success' : 'attempt';
}
