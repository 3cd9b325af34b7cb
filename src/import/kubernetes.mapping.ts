import { tableMapping, valueAt } from './field-table';
import { type JsonObject, type MappedEvent, textOf } from './record-mapping';

/**
 * Maps one audit.k8s.io/v1 Event. Each stage of a request is an event, at the time of the stage: its arrival is an
 * attempt. The user is the authenticated one; an impersonated one is in `metadata`.
 */
export const mapKubernetes = tableMapping({
  id: ({ value, namedId }) => {
    const [auditId, stage] = [textOf(value.auditID), textOf(value.stage)];
    return auditId && stage ? namedId(auditId, stage) : undefined;
  },
  timestamp: ['stageTimestamp', 'requestReceivedTimestamp'],
  organizationId: [],
  principalId: ['user.username', 'user.uid'],
  action: ['verb'],
  targetResourceType: [resourceTypeOf],
  targetResourceId: [resourceNameOf, 'requestURI'],
  status: statusOf,
  outcomeDescription: ['responseStatus.message', 'responseStatus.reason'],
  dataClassification: (value) =>
    SECRETS.test(resourceTypeOf(value) ?? '') ? 'CONFIDENTIAL' : 'INTERNAL',
  correlationId: ['auditID'],
  sessionId: [],
  ipAddress: ['sourceIPs.0'],
  userAgent: ['userAgent'],
  principalType: [kindOf],
});

/** Names of service accounts and of the system have prefixes of their own. */
function kindOf(value: JsonObject): string | undefined {
  const name = textOf(valueAt(value, 'user.username'));
  if (name?.startsWith('system:serviceaccount:')) return 'service';
  return name && (name.startsWith('system:') ? 'system' : 'user');
}

/** Requests that carry secrets or tokens. */
const SECRETS = /^secrets\b|^serviceaccounts\/token$|^tokenreviews\b/;

/** `deployments.apps/scale`: resource, group and subresource. */
function resourceTypeOf(value: JsonObject): string | undefined {
  const part = (name: string) => textOf(valueAt(value, `objectRef.${name}`));
  const [resource, group, subresource] = [part('resource'), part('apiGroup'), part('subresource')];
  if (resource === undefined) return undefined;
  return `${resource}${group ? `.${group}` : ''}${subresource ? `/${subresource}` : ''}`;
}

/** `namespace/name`, or the one that there is. */
function resourceNameOf(value: JsonObject): string | undefined {
  const parts = [valueAt(value, 'objectRef.namespace'), valueAt(value, 'objectRef.name')];
  return textOf(parts.map(textOf).filter(Boolean).join('/'));
}

function statusOf(value: JsonObject): MappedEvent['status'] {
  const code = valueAt(value, 'responseStatus.code');
  const word = valueAt(value, 'responseStatus.status');
  if (value.stage === 'Panic' || word === 'Failure') return 'failure';
  if (typeof code !== 'number' || value.stage === 'RequestReceived') return 'attempt';
  return code >= 400 ? 'failure' : 'success';
}
