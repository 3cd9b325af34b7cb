import { tableMapping, valueAt } from './field-table';
import { type JsonObject, type MappedEvent, textOf, uuidOf } from './record-mapping';

const CLAIMS = 'http://schemas.xmlsoap.org/ws/2005/05/identity/claims';

const STATUSES: Record<string, MappedEvent['status'] | undefined> = {
  success: 'success',
  succeeded: 'success',
  failure: 'failure',
  failed: 'failure',
};

/** Operations that hand out keys or secrets. */
const SECRETS = /\/(list\w*(keys|secrets|sas|credentials)|regenerate\w*)\b|^microsoft\.keyvault\//i;

/**
 * Maps one event of the Azure Activity Log, as diagnostic settings write it (`time`, `resultType`) or as the REST API
 * returns it (`eventTimestamp`, `status.value`). Starts and acceptances are attempts. The organization is the
 * subscription, in lower case because the two differ, or the tenant of events above subscriptions.
 */
export const mapAzure = tableMapping({
  // Diagnostic settings have no id: the content is one, as it has seven digits of a second and a correlation id.
  id: ({ value, namedId }) => uuidOf(value.eventDataId) ?? namedId(JSON.stringify(value)),
  timestamp: ['eventTimestamp', 'time'],
  organizationId: [lowerCase('subscriptionId'), subscriptionOf, lowerCase('tenantId')],
  principalId: [
    'caller',
    (value) => claimOf(value, `${CLAIMS}/upn`),
    (value) => claimOf(value, 'appid'),
    (value) => claimOf(value, `${CLAIMS}/name`),
    'identity.authorization.evidence.principalId',
  ],
  action: ['operationName.value', 'operationName'],
  targetResourceType: [(value) => resourceTypeOf(textOf(value.resourceId) ?? '')],
  targetResourceId: ['resourceId'],
  status: (value) => {
    const word = textOf(value.resultType) ?? textOf(valueAt(value, 'status.value')) ?? '';
    return STATUSES[word.toLowerCase()] ?? 'attempt';
  },
  outcomeDescription: [
    'resultDescription',
    'properties.statusMessage',
    'description',
    'resultSignature',
    'subStatus.value',
  ],
  dataClassification: (value) => {
    const name = textOf(valueAt(value, 'operationName.value')) ?? textOf(value.operationName) ?? '';
    return SECRETS.test(name) ? 'CONFIDENTIAL' : 'INTERNAL';
  },
  correlationId: ['correlationId'],
  sessionId: [(value) => claimOf(value, 'uti')],
  ipAddress: [
    'callerIpAddress',
    'httpRequest.clientIpAddress',
    (value) => claimOf(value, 'ipaddr'),
  ],
  userAgent: [],
  principalType: ['identity.authorization.evidence.principalType'],
  principalName: [(value) => claimOf(value, 'name')],
  service: ['resourceProviderName.value'],
});

/** Names of claims have dots, so no path leads to them. */
function claimOf(value: JsonObject, name: string): unknown {
  const claims = valueAt(value, 'identity.claims') ?? value.claims;
  return typeof claims === 'object' && claims !== null ? (claims as JsonObject)[name] : undefined;
}

function lowerCase(name: string): (value: JsonObject) => string | undefined {
  return (value) => textOf(value[name])?.toLowerCase();
}

function subscriptionOf(value: JsonObject): string | undefined {
  const match = /^\/subscriptions\/([^/]+)/i.exec(textOf(value.resourceId) ?? '');
  return match?.[1]?.toLowerCase();
}

/** `Microsoft.Network/virtualNetworks/subnets` of `…/providers/Microsoft.Network/virtualNetworks/a/subnets/b`. */
function resourceTypeOf(resourceId: string): string | undefined {
  const provider = /.*\/providers\/(.+)$/i.exec(resourceId)?.[1];
  if (provider === undefined) {
    return /\/resourcegroups\/[^/]+\/?$/i.test(resourceId)
      ? 'Microsoft.Resources/subscriptions/resourceGroups'
      : undefined;
  }
  const [namespace, ...rest] = provider.split('/');
  return [namespace, ...rest.filter((_, index) => index % 2 === 0)].join('/');
}
