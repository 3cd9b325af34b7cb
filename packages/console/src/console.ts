import '../../viewer/src/element';
import { append, type Child, h, replace } from '../../viewer/src/dom';
import { consoleTexts } from './texts';
import { claimsOf, type Claims } from './token-claims';

/** A pasted token is in the storage of the tab, so that a reload keeps it; it ends with the tab. */
const TOKEN = 'audit-console-token';

const text = consoleTexts(navigator.language);
/** Of the service: the script is in its folder of assets, behind whatever prefix a proxy has. */
const base = new URL('..', import.meta.url);
const main = document.querySelector('main') as HTMLElement;
const session = document.querySelector('#session') as HTMLElement;

/** Gives a page on this machine a token while the service runs in development; 404 elsewhere. */
async function developmentToken(): Promise<string | undefined> {
  const response = await fetch(new URL('development-token', base)).catch(() => undefined);
  if (!response?.ok) return undefined;
  return ((await response.json()) as { token: string }).token;
}

/** Asks for a token; `reason` says why the last one does not do. */
function askForToken(reason?: string): void {
  replace(session);
  const field = h('textarea', {
    id: 'token',
    rows: 5,
    spellcheck: 'false',
    autocomplete: 'off',
    required: true,
    placeholder: 'eyJhbGciOi…',
    'aria-describedby': 'token-help',
  });
  const fault = h('p', { class: 'fault', role: 'alert' }, reason);
  const form = h('form', {
    class: 'sign-in',
    onsubmit: (event: Event) => {
      event.preventDefault();
      const token = field.value.trim().replace(/^Bearer\s+/i, '');
      const claims = claimsOf(token);
      if (claims) signIn(token, claims);
      else replace(fault, text.notAToken);
    },
  });
  append(form, [
    h('h2', {}, text.signIn),
    fault,
    h('label', { for: 'token' }, text.token),
    field,
    h('p', { id: 'token-help' }, text.tokenHelp),
    h('button', { type: 'submit' }, text.signIn),
  ]);
  replace(main, form);
  field.focus();
}

/** @param renewToken gets another token of the same principal; none for one that was pasted, whose place no other takes. */
function signIn(token: string, claims: Claims, renewToken?: typeof developmentToken): void {
  if (!renewToken) sessionStorage.setItem(TOKEN, token);
  const viewer = document.createElement('audit-log-viewer');
  viewer.setAttribute('src', base.href);
  viewer.setAttribute('url-prefix', '');
  // With its region: dates are written as there.
  viewer.setAttribute('lang', navigator.language);
  const { organizations, subject } = claims;
  if (organizations.length > 1) viewer.setAttribute('organizations', organizations.join(','));
  viewer.token = token;
  viewer.renewToken = renewToken;
  viewer.addEventListener('audit-token-needed', () => askForToken(text.expired));
  const onclick = () => {
    sessionStorage.removeItem(TOKEN);
    askForToken();
  };
  const signedIn: Child[] = [
    h(
      'span',
      { class: 'who' },
      [subject, ...organizations].map((one) => h('bdi', {}, one)),
    ),
    h('button', { type: 'button', onclick }, text.signOut),
  ];
  replace(session, ...signedIn);
  replace(main, viewer);
}

async function start(): Promise<void> {
  document.documentElement.lang = text.language;
  const kept = sessionStorage.getItem(TOKEN);
  const token = kept ?? (await developmentToken());
  const claims = token === undefined ? undefined : claimsOf(token);
  if (token === undefined || !claims) askForToken();
  else signIn(token, claims, kept === null ? developmentToken : undefined);
}

start().catch((error: unknown) => askForToken(String(error)));
