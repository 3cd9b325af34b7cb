import { type EventContent, type EventTarget, present, targetsOf } from './event-format';

/** Kind of an action, in one word. */
export type Verb =
  | 'logon'
  | 'logoff'
  | 'create'
  | 'read'
  | 'update'
  | 'delete'
  | 'move'
  | 'enroll'
  | 'unenroll'
  | 'enable'
  | 'disable'
  | 'activate'
  | 'deactivate'
  | 'suspend'
  | 'resume'
  | 'lock'
  | 'reset';

/** Words of actions by verb, without endings of the past and of the gerund. */
const WORDS: Record<Verb, string> = {
  logon: 'login logon signin loggedin signedin authenticate authentication',
  logoff: 'logout logoff signout signoff loggedout signedout',
  create: 'create add insert new register put upload import issue generate',
  read: 'read get list view show access download export search query describe head lookup find open',
  update: 'update edit modify change set patch save write replace assign',
  delete: 'delete remove destroy erase purge drop',
  move: 'move rename',
  enroll: 'enroll enrol',
  unenroll: 'unenroll unenrol',
  enable: 'enable',
  disable: 'disable',
  activate: 'activate',
  deactivate: 'deactivate',
  suspend: 'suspend',
  resume: 'resume unsuspend',
  lock: 'lock lockout',
  reset: 'reset',
};

/** By word, with the forms that regular verbs have: created, creating, modified. */
const VERB_OF = new Map(
  Object.entries(WORDS).flatMap(([verb, words]) =>
    words.split(' ').flatMap((word) => formsOf(word).map((form) => [form, verb as Verb] as const)),
  ),
);

function formsOf(word: string): string[] {
  const stem = word.replace(/e$/, '');
  const past = word.endsWith('y') ? [`${word.slice(0, -1)}ied`, `${word.slice(0, -1)}ies`] : [];
  return [word, `${word}s`, `${stem}ed`, `${stem}ing`, ...past];
}

/** Kinds of target that are an account, without punctuation and in lower case. */
const ACCOUNTS = new Set(
  'user users account accounts useraccount member principal identity role iamuser iamrole serviceaccount'.split(
    ' ',
  ),
);

/** Kinds of event that other schemas tell apart. */
export type ActivityKind = 'authentication' | 'account' | 'api' | 'entity' | 'other';

/** The kind of an event, and the values on which it rests. */
export interface Activity {
  kind: ActivityKind;
  /** Absent where the action has no word of the table. */
  verb?: Verb;
  isOfPassword: boolean;
  /** True where the action names an account, or nothing but a verb. */
  isOfAccount: boolean;
  /** The first target; absent without an id and a name. */
  target?: EventTarget;
  /** Of an action `service:Operation`. */
  service?: string;
  operation: string;
}

/**
 * The kind of an event. The first that holds:
 *
 * - `authentication`: the verb is a logon or logoff, and the principal is known;
 * - `account`: the verb changes something, the first target is an account, and the action names one or nothing else
 *   (`page.edit` of the page of a user changes no account);
 * - `api`: the action is `service:Operation`, and the event has a caller (a principal or a session) and an address;
 * - `entity`: the verb is not of a logon, and there is a target;
 * - `api`: there is a caller and an address;
 * - `other`.
 */
export function activityOf(event: EventContent): Activity {
  const { action } = event;
  const colon = /^([^:]+):([^:]+)$/.exec(action);
  const [, service, operation = action] = colon ?? [];
  const words = wordsOf(operation);
  const verb = verbIn(words, colon !== null);
  const [first] = targetsOf(event);
  const target = first && present({ id: first.id, name: first.name }) ? first : undefined;
  const common = {
    verb,
    isOfPassword: words.includes('password'),
    isOfAccount:
      words.length === 1 || words.some((word) => ACCOUNTS.has(word) || word === 'password'),
    target,
    service,
    operation,
  };
  return { ...common, kind: kindOf(event, common) };
}

function kindOf(event: EventContent, activity: Omit<Activity, 'kind'>): ActivityKind {
  const { verb, target, service, isOfAccount } = activity;
  const principal = present({ id: event.principalId, name: event.principalName });
  const { sessionId, ipAddress } = event.sessionContext ?? {};
  const isCall = (principal !== undefined || !!sessionId) && !!ipAddress;
  const isLogon = verb === 'logon' || verb === 'logoff';
  if (isLogon && principal) return 'authentication';
  const changes = verb !== undefined && verb !== 'read' && !isLogon;
  if (changes && isOfAccount && target && isAccount(target)) return 'account';
  if (service !== undefined && isCall) return 'api';
  if (verb !== undefined && !isLogon && target) return 'entity';
  return isCall ? 'api' : 'other';
}

function isAccount({ type }: EventTarget): boolean {
  return ACCOUNTS.has((type ?? '').toLowerCase().replace(/[^a-z]/g, ''));
}

/** `fhirPatientRead`, `user.signed_in` and `GetObject` in words. */
function wordsOf(operation: string): string[] {
  return operation
    .replace(/([a-z0-9])([A-Z])/g, '$1 $2')
    .toLowerCase()
    .split(/[^a-z0-9]+/)
    .filter((word) => word !== '');
}

/** An operation of a service begins with its verb (`CreateUser`); other actions end with it (`user.create`). */
function verbIn(words: readonly string[], isFirst: boolean): Verb | undefined {
  // `sign_in` and `logIn` are one word in two.
  const joined = words.map((word, at) => VERB_OF.get(`${word}${words[at + 1] ?? ''}`));
  const single = words.map((word, at) => joined[at] ?? VERB_OF.get(word));
  return isFirst
    ? single.find((verb) => verb !== undefined)
    : single.findLast((verb) => verb !== undefined);
}
